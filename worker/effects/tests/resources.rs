//! Definitions with documents elsewhere: found, named by each other, refused, missing.
#![allow(clippy::unwrap_used, reason = "a test may stop where it can't go on")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flagstop_effects::http::{Answer, Http, HttpOptions, HttpTransport, Outgoing};
use flagstop_effects::resources::{Loaded, Network, Place, Sources, load};
use flagstop_engine::{Diagnostics, Limits};

/// A network of a few documents that remembers what it was asked.
#[derive(Default)]
struct Web {
    documents: BTreeMap<&'static str, (u16, &'static str)>,
    asked: Mutex<Vec<String>>,
    authorizations: Mutex<Vec<String>>,
}

#[async_trait]
impl HttpTransport for Web {
    async fn send(&self, request: Outgoing) -> Result<Answer, String> {
        self.asked.lock().unwrap().push(request.url.clone());
        let authorizations = request.headers.iter().filter(|(name, _)| name == "Authorization");
        self.authorizations.lock().unwrap().extend(authorizations.map(|(_, value)| value.clone()));
        let (status, text) = *self.documents.get(request.url.as_str()).ok_or("no such host")?;
        let headers = vec![
            ("content-type".to_owned(), "application/yaml".to_owned()),
            ("location".to_owned(), "https://moved.example/".to_owned()),
        ];
        Ok(Answer { status, headers, body: text.into() })
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("flagstop-resources-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn definition(rest: &str) -> String {
    format!("document: {{ dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0' }}\n{rest}")
}

async fn load_at(rest: &str, place: Place, web: Option<&Web>, catalog: Option<&str>) -> Result<Loaded, Diagnostics> {
    let http = Http::new(Arc::new(|| 0), HttpOptions::default());
    let sources = Sources {
        place,
        default_catalog: catalog.map(str::to_owned),
        network: web.map_or(Network::Offline, |web| Network::Online(&http, web)),
        secrets: &BTreeMap::new(),
    };
    load(definition(rest).as_bytes(), &sources, &Limits::default()).await
}

const TWO_SCHEMAS: &str = "
input: { schema: { resource: { endpoint: schemas/in.json } } }
output: { schema: { resource: { endpoint: { uri: 'https://schemas.example/out.yaml' } } } }
do: []
";

#[tokio::test]
async fn what_is_relative_lies_beside_the_definition_and_the_rest_comes_over_the_network() {
    let folder = Folder::with("relative", &[("schemas/in.json", "{}")]);
    let mut web = Web::default();
    web.documents.insert("https://schemas.example/out.yaml", (200, "type: object"));
    let place = Place::of_file(&folder.0.join("flow.yaml"));
    let loaded = load_at(TWO_SCHEMAS, place, Some(&web), None).await.unwrap();
    assert_eq!((loaded.plan.missing(), loaded.failures.len()), ([].as_slice(), 0));
    let bundled: Vec<_> = loaded.bundle.iter().map(|(url, document)| (url, document.media_type.as_deref())).collect();
    assert_eq!(bundled, [("https://schemas.example/out.yaml", Some("application/yaml")), ("schemas/in.json", None)]);
    assert_eq!(*web.asked.lock().unwrap(), ["https://schemas.example/out.yaml"]);

    web.documents.insert("https://definitions.example/hr/schemas/in.json", (200, "{}"));
    let place = Place::Url("https://definitions.example/hr/flow.yaml".parse().unwrap());
    let elsewhere = load_at(TWO_SCHEMAS, place, Some(&web), None).await.unwrap();
    assert!(elsewhere.plan.missing().is_empty());
}

#[tokio::test]
async fn offline_the_network_is_not_asked_and_that_is_no_failure() {
    let folder = Folder::with("offline", &[("schemas/in.json", "{}")]);
    let loaded = load_at(TWO_SCHEMAS, Place::Folder(folder.0.clone()), None, None).await.unwrap();
    let missing: Vec<_> = loaded.plan.missing().iter().map(|missing| missing.url.as_str()).collect();
    assert_eq!((missing, loaded.failures.len()), (vec!["https://schemas.example/out.yaml"], 0));
}

#[tokio::test]
async fn what_can_not_be_fetched_is_told_with_its_reason_and_asked_for_once() {
    for (status, why) in [(404, "the answer was 404"), (302, "https://moved.example/"), (0, "no such host")] {
        let mut web = Web::default();
        if status > 0 {
            web.documents.insert("https://schemas.example/out.yaml", (status, ""));
        }
        let loaded = load_at(TWO_SCHEMAS, Place::Nowhere, Some(&web), None).await.unwrap();
        let reasons: Vec<_> = loaded.failures.iter().map(ToString::to_string).collect();
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(reasons[0].contains("`schemas/in.json`") && reasons[0].contains("relative"), "{reasons:?}");
        assert!(reasons[1].contains(why), "{reasons:?}");
        assert_eq!(web.asked.lock().unwrap().len(), 1);
    }
    let folder = Folder::with("folder", &[("schemas/in.json/x", "")]);
    let loaded = load_at(TWO_SCHEMAS, Place::Folder(folder.0.clone()), None, None).await.unwrap();
    assert!(loaded.failures[0].reason.contains("no file"), "{:?}", loaded.failures);
}

#[tokio::test]
async fn a_document_that_is_too_large_is_not_taken() {
    let large = "x".repeat(Limits::default().resource_bytes_max + 1);
    let folder = Folder::with("large", &[("schemas/in.json", &large)]);
    let loaded = load_at(TWO_SCHEMAS, Place::Folder(folder.0.clone()), None, None).await.unwrap();
    assert!(loaded.failures[0].reason.contains("resource_bytes_max"), "{:?}", loaded.failures[0].reason);
}

#[tokio::test]
async fn mistakes_of_documents_are_mistakes_of_the_definition() {
    let folder = Folder::with("mistakes", &[("schemas/in.json", "{ type: nonsense }")]);
    let found = load_at(TWO_SCHEMAS, Place::Folder(folder.0.clone()), None, None).await.unwrap_err();
    assert!(found.to_string().contains("schemas/in.json"), "{found}");
}

#[tokio::test]
async fn a_server_is_shown_who_asks_and_a_secret_that_is_not_there_is_told() {
    let rest = "
use: { secrets: [schemas] }
input:
  schema:
    resource:
      endpoint:
        uri: https://schemas.example/in.json
        authentication: { basic: { username: hr, password: '${ $secrets.schemas.password }' } }
do: []
";
    let mut web = Web::default();
    web.documents.insert("https://schemas.example/in.json", (200, "{}"));
    let http = Http::new(Arc::new(|| 0), HttpOptions::default());
    let password = flagstop_engine::read_document(b"{ password: open }", &Limits::default()).unwrap();
    let secrets = BTreeMap::from([("schemas".to_owned(), password)]);
    let nothing = BTreeMap::new();
    let sources = |secrets| Sources {
        place: Place::Nowhere,
        default_catalog: None,
        network: Network::Online(&http, &web),
        secrets,
    };
    let text = definition(rest);
    let loaded = load(text.as_bytes(), &sources(&secrets), &Limits::default()).await.unwrap();
    assert!(loaded.plan.missing().is_empty());
    assert_eq!(*web.authorizations.lock().unwrap(), ["Basic aHI6b3Blbg=="]);
    let loaded = load(text.as_bytes(), &sources(&nothing), &Limits::default()).await.unwrap();
    assert!(loaded.failures[0].reason.contains("the secret `schemas`"), "{:?}", loaded.failures);
    assert_eq!(web.asked.lock().unwrap().len(), 1);
}
