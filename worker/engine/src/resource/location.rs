//! Where documents lie: references against the document that holds them, and catalogs.
//!
//! A definition's own place is never known here: what is relative to it stays relative, so that its bundle and its
//! fingerprint are the same on every machine.

use url::Url;

/// What a location in the runtime's own catalog begins with. The driver knows where that is.
pub const DEFAULT_CATALOG: &str = "catalog:";

/// The location of `reference` as it stands in the document at `base`; the definition's own base is empty.
/// The error says what is wrong with it.
pub(crate) fn resolve(base: &str, reference: &str) -> Result<String, String> {
    let reference = reference.trim();
    if reference.is_empty() {
        return Err("it is empty".to_owned());
    }
    if reference.contains('#') {
        return Err("a fragment (`#…`) names a part of a document, but documents are taken whole".to_owned());
    }
    // `file:schemas/a.json` has no meaning of its own; everybody who writes it means the local file.
    let reference = match reference.strip_prefix("file:") {
        Some(path) if !path.starts_with('/') => path,
        _ => reference,
    };
    let location = match (scheme(reference), scheme(base)) {
        (Some(_), _) => absolute(Url::parse(reference))?,
        (None, Some("catalog")) => format!("{DEFAULT_CATALOG}{}", join(&base[DEFAULT_CATALOG.len()..], reference)),
        (None, Some(_)) => absolute(Url::parse(base).and_then(|base| base.join(reference)))?,
        (None, None) => join(base, reference),
    };
    let in_catalog = |location: &str| location.starts_with(DEFAULT_CATALOG);
    if (is_far(base) || in_catalog(base)) && !is_far(&location) && !in_catalog(&location) {
        return Err("a document from elsewhere may not name a local one".to_owned());
    }
    if location.starts_with("catalog:..") {
        return Err("it leads out of the catalog".to_owned());
    }
    Ok(location)
}

/// Whether it is fetched over the network.
pub(crate) fn is_far(location: &str) -> bool {
    matches!(scheme(location), Some("http" | "https"))
}

/// The location of a function in a catalog. `endpoint` is the catalog's own, resolved; `None`: the default catalog.
pub(crate) fn catalog_function(endpoint: Option<&str>, name: &str, version: &str) -> String {
    let path = format!("functions/{name}/{version}/function.yaml");
    match endpoint {
        Some(endpoint) => format!("{}/{path}", repository_tree(endpoint).trim_end_matches('/')),
        None => format!("{DEFAULT_CATALOG}{path}"),
    }
}

/// People copy the address of a page; a file's own text lies elsewhere on GitHub and GitLab.
pub(crate) fn raw(location: &str) -> String {
    let Ok(url) = Url::parse(location) else { return location.to_owned() };
    let parts: Vec<&str> = url.path().trim_matches('/').split('/').collect();
    match (url.host_str(), parts.as_slice()) {
        (Some("github.com"), [owner, repository, "tree" | "blob" | "raw", revision, path @ ..]) => {
            let revision = if is_branch(revision) { format!("refs/heads/{revision}") } else { (*revision).to_owned() };
            let path = path.join("/");
            format!("https://raw.githubusercontent.com/{owner}/{repository}/{revision}/{path}")
        }
        (Some("gitlab.com"), _) => location.replacen("/-/tree/", "/-/raw/", 1).replacen("/-/blob/", "/-/raw/", 1),
        _ => location.to_owned(),
    }
}

/// The address of a repository itself means its default branch.
fn repository_tree(endpoint: &str) -> String {
    let Ok(url) = Url::parse(endpoint) else { return endpoint.to_owned() };
    let parts: Vec<&str> = url.path().trim_matches('/').split('/').collect();
    match (url.host_str(), parts.as_slice()) {
        (Some("github.com"), [_, _]) => format!("{}/tree/HEAD", endpoint.trim_end_matches('/')),
        _ => endpoint.to_owned(),
    }
}

/// GitHub addresses branches by their full name; versions, commits and `HEAD` by the name alone.
fn is_branch(revision: &str) -> bool {
    let is_commit = revision.len() >= 7 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = revision.strip_prefix('v').unwrap_or(revision);
    let is_version = number.starts_with(|first: char| first.is_ascii_digit()) && number.contains('.');
    revision != "HEAD" && !is_commit && !is_version
}

fn absolute(url: Result<Url, url::ParseError>) -> Result<String, String> {
    let url = url.map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            Err("it holds a user or a password; give them under `authentication`".to_owned())
        }
        "http" | "https" | "file" => Ok(url.into()),
        other => Err(format!("documents can't be fetched by `{other}:`, only by `https:`, `http:` and `file:`")),
    }
}

/// RFC 3986: letters, digits, `+`, `-` and `.` before the first colon. One letter is a drive of Windows.
fn scheme(location: &str) -> Option<&str> {
    let (scheme, _) = location.split_once(':')?;
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some(scheme)
}

/// A relative path against the folder of another, without `.` and `..` where they can be resolved.
fn join(base: &str, reference: &str) -> String {
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    let start = if reference.starts_with('/') { "" } else { folder };
    let is_rooted = reference.starts_with('/') || folder.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in start.split('/').chain(reference.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    if is_rooted { format!("/{path}") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_relative_to_the_definition_stays_relative_and_what_is_relative_to_a_document_is_beside_it() {
        for (base, reference, location) in [
            ("", "schemas/a.json", "schemas/a.json"),
            ("", "./schemas/../a.json", "a.json"),
            ("", "../shared/a.json", "../shared/a.json"),
            ("", "file:schemas/a.json", "schemas/a.json"),
            ("", "file:///srv/a.json", "file:///srv/a.json"),
            ("", " https://h/a.json ", "https://h/a.json"),
            ("", "/srv/../etc/a.json", "/etc/a.json"),
            ("functions/f/1.0.0/function.yaml", "in.json", "functions/f/1.0.0/in.json"),
            ("functions/f/1.0.0/function.yaml", "../../../../a.json", "../a.json"),
            ("https://h/f/1/function.yaml", "../in.json", "https://h/f/in.json"),
            ("https://h/f/1/function.yaml", "/in.json", "https://h/in.json"),
            ("https://h/f/1/function.yaml", "https://o/in.json", "https://o/in.json"),
            ("file:///c/f/function.yaml", "in.json", "file:///c/f/in.json"),
            ("catalog:functions/f/1/function.yaml", "./in.json", "catalog:functions/f/1/in.json"),
        ] {
            assert_eq!(resolve(base, reference).as_deref(), Ok(location), "{base} {reference}");
        }
        for (base, reference, why) in [
            ("", "", "empty"),
            ("", "a.json#/x", "fragment"),
            ("", "ftp://h/a", "`ftp:`"),
            ("", "https://", "host"),
            ("", "https://user:secret@h/a", "authentication"),
            ("", "catalog:functions/f/1/function.yaml", "`catalog:`"),
            ("https://h/function.yaml", "file:///etc/passwd", "local"),
            ("catalog:functions/f/1/function.yaml", "file:///etc/passwd", "local"),
            ("catalog:functions/f/1/function.yaml", "../../../../a.json", "out of the catalog"),
        ] {
            let error = resolve(base, reference).unwrap_err();
            assert!(error.contains(why), "{reference}: {error}");
        }
    }

    #[test]
    fn a_catalog_is_a_folder_a_host_or_a_repository() {
        let of = |endpoint| raw(&catalog_function(endpoint, "log", "1.0.0"));
        assert_eq!(of(Some("catalog")), "catalog/functions/log/1.0.0/function.yaml");
        assert_eq!(of(Some("file:///srv/c/")), "file:///srv/c/functions/log/1.0.0/function.yaml");
        assert_eq!(of(Some("https://c.example")), "https://c.example/functions/log/1.0.0/function.yaml");
        assert_eq!(of(None), "catalog:functions/log/1.0.0/function.yaml");
        assert_eq!(
            of(Some("https://github.com/o/catalog/tree/main")),
            "https://raw.githubusercontent.com/o/catalog/refs/heads/main/functions/log/1.0.0/function.yaml"
        );
        assert_eq!(
            of(Some("https://github.com/o/catalog/")),
            "https://raw.githubusercontent.com/o/catalog/HEAD/functions/log/1.0.0/function.yaml"
        );
        assert_eq!(
            raw("https://github.com/o/r/blob/v1.2.0/f.yaml"),
            "https://raw.githubusercontent.com/o/r/v1.2.0/f.yaml"
        );
        assert_eq!(raw("https://gitlab.com/g/s/r/-/tree/main/f.yaml"), "https://gitlab.com/g/s/r/-/raw/main/f.yaml");
        assert_eq!(raw("schemas/a.json"), "schemas/a.json");
    }
}
