//! Mocked calls: the rules of `http` and `processes`, and the requests that are expected.

use bytes::Bytes;
use flagstop_engine::source::Node;
use flagstop_engine::value;

use super::matching::UrlPattern;
use super::model::{HttpReply, HttpRule, ProcessRule, RequestPattern};
use super::reader::Reader;

const RULE: &[&str] = &["match", "reply", "times"];
const HTTP_MATCH: &[&str] = &["method", "url", "headers", "query", "body"];
const HTTP_REPLY: &[&str] = &["status", "headers", "body", "after", "fail"];
const PROCESS_MATCH: &[&str] = &["kind", "command", "code", "language", "image", "arguments", "stdin", "environment"];
const PROCESS_REPLY: &[&str] = &["code", "stdout", "stderr", "after"];
/// How a request can get no answer, and what the workflow is told.
const FAILS: [(&str, &str); 3] = [
    ("connect", "the connection was refused (mocked)"),
    ("reset", "the connection was reset (mocked)"),
    ("timeout", "no answer came in time (mocked)"),
];

impl Reader<'_> {
    pub(super) fn http_rule(&mut self, node: &Node) -> Option<HttpRule> {
        let what = "a rule of `http`";
        self.mapping(node, what, RULE)?;
        let wanted = match node.get("match") {
            Some(wanted) => self.request_pattern(wanted),
            None => Some(RequestPattern::anything()),
        };
        let times = self.times(node);
        let reply = self.required(node, "reply", what)?;
        self.mapping(reply, "`reply`", HTTP_REPLY)?;
        let after_us = self.after(reply);
        let answer = match reply.get("fail") {
            Some(fail) => self.fail(fail, reply),
            None => self.answer(reply),
        };
        let wanted = wanted?;
        Some(HttpRule {
            url: wanted.url.map(|url| UrlPattern::new(&url)),
            method: wanted.method,
            headers: wanted.headers,
            query: wanted.query,
            body: wanted.body,
            reply: answer?,
            after_us,
            times,
        })
    }

    fn fail(&mut self, fail: &Node, reply: &Node) -> Option<HttpReply> {
        if let Some((key, _)) = ["status", "headers", "body"].iter().find_map(|key| reply.entry(key)) {
            let message = format!("`{}` stands beside `fail`", key.text);
            self.error("FS-VALUE", key.span, message, "a request that fails gets no answer: remove one of the two");
        }
        let kind = self.one_of(fail, "`fail`", &FAILS.map(|(kind, _)| kind))?;
        FAILS.iter().find(|(known, _)| *known == kind).map(|(_, why)| HttpReply::Fail(why))
    }

    fn answer(&mut self, reply: &Node) -> Option<HttpReply> {
        let status = match reply.get("status") {
            Some(status) => u16::try_from(self.number(status, "`status`", 100, 599)?).ok()?,
            None => 200,
        };
        let mut headers: Vec<(String, String)> = Vec::new();
        if let Some(given) = reply.get("headers") {
            for (name, node) in self.entries(given, "`headers`").unwrap_or_default() {
                let items = node.as_seq().unwrap_or(std::slice::from_ref(node));
                for item in items {
                    headers.push((name.text.to_ascii_lowercase(), self.scalar(item, "a header")?));
                }
            }
        }
        let (body, media_type) = match reply.get("body") {
            None => (Bytes::new(), None),
            Some(body) => match body.as_str() {
                Some(text) => (Bytes::from(text.to_owned()), Some("text/plain")),
                None => (Bytes::from(value::to_json(&value::from_node(body))), Some("application/json")),
            },
        };
        if let Some(media_type) = media_type.filter(|_| headers.iter().all(|(name, _)| name != "content-type")) {
            headers.push(("content-type".to_owned(), media_type.to_owned()));
        }
        Some(HttpReply::Answer { status, headers, body })
    }

    pub(super) fn request_pattern(&mut self, node: &Node) -> Option<RequestPattern> {
        self.mapping(node, "a request", HTTP_MATCH)?;
        let mut pattern = RequestPattern { written: value::from_node(node), ..RequestPattern::anything() };
        pattern.method =
            node.get("method").and_then(|method| self.text(method, "`method`")).map(str::to_ascii_uppercase);
        if let Some(node) = node.get("url")
            && let Some(url) = self.text(node, "`url`")
        {
            if url.contains('?') {
                let message = "`url` is compared without the query string";
                self.error("FS-VALUE", node.span, message, "put the parameters under `query:`");
            }
            pattern.url = Some(url.to_owned());
        }
        if let Some(headers) = node.get("headers") {
            let named = self.named_values(headers, "`headers`").into_iter();
            pattern.headers = named.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        }
        if let Some(query) = node.get("query") {
            pattern.query = self.named_values(query, "`query`");
        }
        // An empty mapping asks for nothing.
        let body = node.get("body").filter(|body| !body.as_map().is_some_and(<[_]>::is_empty));
        pattern.body = body.map(value::from_node);
        Some(pattern)
    }

    pub(super) fn process_rule(&mut self, node: &Node) -> Option<ProcessRule> {
        let what = "a rule of `processes`";
        self.mapping(node, what, RULE)?;
        let mut rule = ProcessRule {
            kind: None,
            command: None,
            code: None,
            language: None,
            image: None,
            arguments: None,
            stdin: None,
            environment: Vec::new(),
            exit_code: 0,
            stdout: String::new(),
            stderr: String::new(),
            after_us: 0,
            times: self.times(node),
        };
        if let Some(wanted) = node.get("match").and_then(|wanted| self.mapping(wanted, "`match`", PROCESS_MATCH)) {
            let kinds = ["shell", "script", "container"];
            rule.kind = wanted.get("kind").and_then(|kind| self.one_of(kind, "`kind`", &kinds)).map(str::to_owned);
            let texts = [
                ("command", &mut rule.command),
                ("code", &mut rule.code),
                ("language", &mut rule.language),
                ("image", &mut rule.image),
            ];
            for (key, slot) in texts {
                *slot = wanted.get(key).and_then(|text| self.scalar(text, &format!("`{key}`")));
            }
            rule.arguments = wanted.get("arguments").map(value::from_node).filter(|given| !is_empty_object(given));
            rule.stdin = wanted.get("stdin").map(value::from_node).filter(|given| !is_empty_object(given));
            if let Some(environment) = wanted.get("environment") {
                rule.environment = self.named_values(environment, "`environment`");
            }
        }
        let reply = self.required(node, "reply", what)?;
        self.mapping(reply, "`reply`", PROCESS_REPLY)?;
        if let Some(code) = reply.get("code") {
            rule.exit_code =
                i32::try_from(self.number(code, "`code`", i64::from(i32::MIN), i64::from(i32::MAX))?).ok()?;
        }
        for (key, slot) in [("stdout", &mut rule.stdout), ("stderr", &mut rule.stderr)] {
            if let Some(text) = reply.get(key) {
                *slot = self.scalar(text, &format!("`{key}`"))?;
            }
        }
        rule.after_us = self.after(reply);
        Some(rule)
    }

    fn times(&mut self, rule: &Node) -> Option<u32> {
        let times = self.number(rule.get("times")?, "`times`", 0, i64::from(u32::MAX))?;
        u32::try_from(times).ok()
    }

    fn after(&mut self, reply: &Node) -> i64 {
        reply.get("after").and_then(|after| self.duration(after, "`after`")).unwrap_or(0)
    }
}

impl RequestPattern {
    fn anything() -> Self {
        Self {
            written: value::empty_object(),
            method: None,
            url: None,
            headers: Vec::new(),
            query: Vec::new(),
            body: None,
        }
    }
}

fn is_empty_object(given: &value::Value) -> bool {
    matches!(given, value::Value::Obj(map) if map.is_empty())
}
