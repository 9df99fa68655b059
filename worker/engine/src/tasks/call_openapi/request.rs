//! How the arguments of an OpenAPI call become a request.

use bytes::Bytes;
use url::Url;

use super::document::{Content, Operation, Parameter, PathPart, Place};
use super::multipart;
use crate::api::{Authentication, HttpRequest, Value};
use crate::expr::Template;
use crate::machine::vars::Vars;
use crate::plan::endpoint::is_secret;
use crate::problem::{Problem, ProblemKind};
use crate::tasks::http::{self, CONTENT_TYPE, Draft, scalar};
use crate::value;

/// A value of `parameters`.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) template: Template,
}

/// An operation with the arguments that it is called with.
#[derive(Debug)]
pub(super) struct Rendering {
    operation: Operation,
    arguments: Vec<Argument>,
    body: BodyFrom,
    /// Some argument must not be shown.
    secret: bool,
}

/// Which arguments make the body.
#[derive(Debug)]
enum BodyFrom {
    Nothing,
    /// This one is the whole of it.
    Whole(usize),
    /// These are its properties.
    Fields(Vec<usize>),
}

impl Rendering {
    pub(super) fn new(operation: Operation, arguments: Vec<Argument>, is_whole: bool) -> Self {
        let declares = |name: &str| operation.parameters.iter().any(|parameter| parameter.name == name);
        let mut rest: Vec<usize> = (0..arguments.len()).filter(|index| !declares(&arguments[*index].name)).collect();
        let body = match (rest.len(), is_whole) {
            (0, _) => BodyFrom::Nothing,
            (_, true) => BodyFrom::Whole(rest.swap_remove(0)),
            (_, false) => BodyFrom::Fields(rest),
        };
        let secret = arguments.iter().any(|argument| is_secret(&argument.template));
        Self { operation, arguments, body, secret }
    }

    /// What errors and lists show.
    pub(super) fn summary(&self) -> String {
        let parts = self.operation.path.iter().map(|part| match part {
            PathPart::Literal(text) => text.clone(),
            PathPart::Parameter(name) => format!("{{{name}}}"),
        });
        format!("{} {}{}", self.operation.method, self.operation.server, parts.collect::<String>())
    }

    pub(super) fn request(
        &self,
        vars: &Vars<'_>,
        input: &Value,
        idempotency_key: &str,
        authentication: Option<Authentication>,
    ) -> Result<HttpRequest, Problem> {
        let known = authentication.as_ref().and_then(Authentication::authorization);
        let vars = vars.authorized(known.as_ref());
        let values: Vec<Value> =
            self.arguments.iter().map(|argument| vars.eval(&argument.template, input)).collect::<Result<_, _>>()?;
        let given = |parameter: &Parameter| -> Result<Option<&Value>, Problem> {
            let index = self.arguments.iter().position(|argument| argument.name == parameter.name);
            let found = index.map(|index| &values[index]).filter(|found| !value::is_null(found));
            match found {
                None if parameter.required => Err(invalid(format!("the parameter `{}` is required", parameter.name))),
                found => Ok(found),
            }
        };
        let mut path = String::new();
        for part in &self.operation.path {
            match part {
                PathPart::Literal(text) => path.push_str(text),
                PathPart::Parameter(name) => {
                    let declared = self.at(Place::Path).find(|parameter| parameter.name == *name);
                    if let Some(parameter) = declared
                        && let Some(found) = given(parameter)?
                    {
                        let written = parameter.style.plain(name, found).map_err(|_| too_deep(name))?;
                        if matches!(&*written, "" | "." | "..") {
                            return Err(invalid(format!("the parameter `{name}` can't be a part of a path")));
                        }
                        path.push_str(&written);
                    }
                }
            }
        }
        let (mut query, mut cookies, mut headers) = (Vec::new(), Vec::new(), Vec::new());
        for (place, rows) in [(Place::Query, &mut query), (Place::Cookie, &mut cookies)] {
            for parameter in self.at(place) {
                if let Some(found) = given(parameter)? {
                    let name = &parameter.name;
                    rows.extend(parameter.style.named(name, found).map_err(|_| too_deep(name))?);
                }
            }
        }
        for parameter in self.at(Place::Header) {
            if let Some(found) = given(parameter)? {
                let name = &parameter.name;
                headers.push(http::header(name, parameter.style.plain(name, found).map_err(|_| too_deep(name))?)?);
            }
        }
        if !cookies.is_empty() {
            headers.push(http::header("Cookie", cookies.join("; "))?);
        }
        if let Some(accept) = &self.operation.accept {
            headers.push(("Accept".to_owned(), accept.clone()));
        }
        let mut url = http::absolute(&format!("{}{path}", self.operation.server), &self.summary())?;
        if !query.is_empty() {
            url.set_query(Some(&query.join("&")));
        }
        let body = self.body(&values)?;
        if let Some((_, media_type)) = &body {
            headers.push((CONTENT_TYPE.to_owned(), media_type.clone()));
        }
        let draft = Draft { method: self.operation.method.clone(), url, headers };
        Ok(draft.finish(body.map(|(bytes, _)| bytes), idempotency_key, authentication))
    }

    fn at(&self, place: Place) -> impl Iterator<Item = &Parameter> {
        self.operation.parameters.iter().filter(move |parameter| parameter.place == place)
    }

    /// The body and its media type.
    fn body(&self, values: &[Value]) -> Result<Option<(Bytes, String)>, Problem> {
        let Some(declared) = &self.operation.body else { return Ok(None) };
        let body = match &self.body {
            BodyFrom::Nothing => Value::Null,
            BodyFrom::Whole(index) => values[*index].clone(),
            BodyFrom::Fields(indices) => {
                let fields = indices.iter().map(|index| (self.arguments[*index].name.as_str(), values[*index].clone()));
                value::object(fields)
            }
        };
        if value::is_null(&body) {
            return match declared.required {
                true => Err(invalid("the operation's body is required".to_owned())),
                false => Ok(None),
            };
        }
        let is_object = matches!(body, Value::Obj(_));
        let media_type = declared.media_type.clone();
        Ok(Some(match declared.content {
            Content::Json => (value::to_json_bytes(&body).into(), media_type.replace('*', "json")),
            Content::Form if is_object => (http::form(&body)?, media_type),
            Content::Multipart if is_object => {
                let files = declared.fields.iter().flatten().filter(|field| field.is_file);
                let names: Vec<&str> = files.map(|field| &*field.name).collect();
                multipart::write(&body, &names)
            }
            _ => match scalar(&body) {
                Some(text) => (text.into(), media_type),
                None => {
                    let found = value::type_name(&body);
                    return Err(invalid(format!("the operation takes `{media_type}`: a text, not {found}")));
                }
            },
        }))
    }

    /// The request as an output shows it.
    pub(super) fn shown(&self, request: &HttpRequest) -> Value {
        let uri = match self.secret {
            // It may stand in the path.
            true => Url::parse(&request.url).map(|url| url.origin().ascii_serialization()).unwrap_or_default(),
            false => request.url.clone(),
        };
        http::shown(request, uri, |name| !self.secret || name.eq_ignore_ascii_case(CONTENT_TYPE))
    }
}

fn invalid(why: String) -> Problem {
    Problem::new(ProblemKind::Validation, why, "")
}

fn too_deep(name: &str) -> Problem {
    invalid(format!("the parameter `{name}` holds arrays or objects that its style can't write"))
}
