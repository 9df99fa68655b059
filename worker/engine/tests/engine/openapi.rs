//! `call: openapi`: documents of 2.0 and 3.x become requests; what does not fit is found when the definition is loaded.

use flagstop_engine::{Diagnostics, Plan};
use serde_json::{Value, json};

use crate::driver::{World, assert_has, both_ways, compile_with, definition, header, problem};

const URL: &str = "https://docs.example/v1/api.json";

fn call(with: &str) -> String {
    format!("do: [ {{ ask: {{ call: openapi, with: {{ document: {{ endpoint: '{URL}' }}, {with} }} }} }} ]")
}

fn compile(document: &Value, with: &str) -> Result<Plan, Diagnostics> {
    compile_with(&call(with), &[(URL, &document.to_string())])
}

fn world(document: &Value, with: &str) -> World {
    World::with_documents(&call(with), &[(URL, &document.to_string())])
}

fn codes(found: &Diagnostics) -> Vec<&'static str> {
    found.iter().map(|found| found.code).collect()
}

/// The petstore in the older version, as far as it is needed.
fn petstore() -> Value {
    json!({
        "swagger": "2.0", "host": "pets.example", "basePath": "/v2", "schemes": ["http", "https"],
        "paths": {
            "/pet/findByStatus": { "get": {
                "operationId": "findPetsByStatus", "produces": ["application/xml", "application/json"],
                "parameters": [{ "name": "status", "in": "query", "required": true, "type": "array", "collectionFormat": "multi" }],
            } },
            "/pet/{petId}": {
                "parameters": [{ "name": "petId", "in": "path", "required": true, "type": "integer" }],
                "get": { "operationId": "getPetById", "produces": ["application/json"] },
                "post": {
                    "operationId": "updatePetWithForm", "consumes": ["application/x-www-form-urlencoded"],
                    "parameters": [{ "name": "name", "in": "formData" }, { "name": "tags", "in": "formData" }],
                },
                "delete": {
                    "operationId": "deletePet",
                    "parameters": [{ "$ref": "#/parameters/key" }, { "name": "petId", "in": "path", "required": true }],
                },
            },
            "/pet/{petId}/uploadImage": { "post": {
                "operationId": "uploadFile", "consumes": ["multipart/form-data"],
                "parameters": [
                    { "name": "petId", "in": "path", "required": true },
                    { "name": "file", "in": "formData", "type": "file", "required": true },
                    { "name": "note", "in": "formData", "type": "string" },
                ],
            } },
            "/pet": { "post": {
                "operationId": "addPet", "consumes": ["application/json", "application/xml"],
                "parameters": [{ "name": "pet", "in": "body", "required": true }],
            } },
        },
        "parameters": { "key": { "name": "api_key", "in": "header" } },
    })
}

/// A document of 3.x with everything that decides about a request.
fn orders() -> Value {
    json!({
        "openapi": "3.1.0",
        "servers": [{ "url": "https://{region}.orders.example/api/", "variables": { "region": { "default": "eu" } } }],
        "paths": {
            "/orders/{id}": { "$ref": "#/components/pathItems/order" },
            "/orders": { "post": {
                "operationId": "place",
                "requestBody": { "$ref": "#/components/requestBodies/order" },
                "responses": { "201": { "content": { "application/hal+json": {}, "text/plain": {} } } },
            } },
            "/search": {
                "servers": [{ "url": "/search-api" }],
                "get": {
                    "operationId": "search",
                    "parameters": [
                        { "name": "filter", "in": "query", "style": "deepObject" },
                        { "name": "tags", "in": "query", "explode": false },
                        { "name": "X-Trace", "in": "header" },
                        { "name": "session", "in": "cookie" },
                        { "name": "Accept", "in": "header" },
                    ],
                },
            },
            "/notes": { "post": { "operationId": "note", "requestBody": { "content": { "text/markdown": {} } } } },
            "/forms": { "post": { "operationId": "form", "requestBody": { "content": {
                "multipart/form-data": { "schema": { "properties": { "a": {}, "f": { "format": "binary" } } } },
            } } } },
        },
        "components": {
            "pathItems": { "order": { "get": {
                "operationId": "show",
                "parameters": [
                    { "name": "id", "in": "path", "required": true, "style": "label" },
                    { "name": "expand", "in": "query", "schema": { "type": "array" } },
                ],
                "responses": { "200": { "$ref": "#/components/responses/order" } },
            } } },
            "responses": { "order": { "content": { "application/xml": {}, "application/json": {} } } },
            "requestBodies": { "order": { "required": true, "content": { "text/csv": {}, "application/json": {
                "schema": { "$ref": "#/components/schemas/order" },
            } } } },
            "schemas": { "order": { "type": "object", "properties": { "item": {}, "count": {} }, "required": ["item"] } },
        },
    })
}

#[test]
fn an_operation_of_the_older_version_becomes_a_request() {
    both_ways(|kill| {
        let with = "operationId: findPetsByStatus, parameters: { status: '${ .status }' }";
        let world = world(&petstore(), with).killed(kill).answers_json(200, json!([{ "id": 1 }]));
        let world = world.run(json!({ "status": ["available", "sold out"] }));
        assert_eq!(world.output(), json!([{ "id": 1 }]));
        let request = world.http(0);
        assert_eq!(request.method, "GET");
        assert_eq!(request.url, "https://pets.example/v2/pet/findByStatus?status=available&status=sold%20out");
        assert_eq!((header(request, "accept"), &request.body), (Some("application/json"), &None));
        assert_eq!(header(request, "idempotency-key"), Some(world.requests[0].idempotency_key.as_str()));
    });
    for (with, method, url, body, media_type) in [
        ("operationId: getPetById, parameters: { petId: 7 }", "GET", "/pet/7", None, None),
        ("operationId: deletePet, parameters: { petId: a/b, api_key: k }", "DELETE", "/pet/a%2Fb", None, None),
        (
            "operationId: addPet, parameters: { pet: { name: Milou } }",
            "POST",
            "/pet",
            Some(r#"{"name":"Milou"}"#),
            Some("application/json"),
        ),
        (
            "operationId: updatePetWithForm, parameters: { petId: 7, name: 'Mi lou', tags: [ a, b ] }",
            "POST",
            "/pet/7",
            Some("name=Mi+lou&tags=a&tags=b"),
            Some("application/x-www-form-urlencoded"),
        ),
    ] {
        let world = world(&petstore(), with).run(json!({}));
        let request = world.http(0);
        assert_eq!((&*request.method, &*request.url), (method, &*format!("https://pets.example/v2{url}")));
        assert_eq!(request.body.as_deref(), body.map(str::as_bytes), "{with}");
        assert_eq!(header(request, "content-type"), media_type);
    }
    let delete = world(&petstore(), "operationId: deletePet, parameters: { petId: 1, api_key: k }").run(json!({}));
    assert_eq!(header(delete.http(0), "api_key"), Some("k"));
}

#[test]
fn a_form_with_a_file_is_sent_in_parts_and_is_the_same_whenever_it_is_made() {
    both_ways(|kill| {
        let with = "operationId: uploadFile, parameters: { petId: 7, file: 'the content', note: { a: 1 } }";
        let world = world(&petstore(), with).killed(kill).run(json!({}));
        let request = world.http(0);
        let media_type = header(request, "content-type").unwrap();
        let boundary = media_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        let body = String::from_utf8(request.body.clone().unwrap().to_vec()).unwrap();
        let wanted = [
            "",
            "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\nContent-Type: application/octet-stream\r\n\r\nthe content\r\n",
            "\r\nContent-Disposition: form-data; name=\"note\"\r\nContent-Type: application/json\r\n\r\n{\"a\":1}\r\n",
            "--\r\n",
        ];
        assert_eq!(body.split(&format!("--{boundary}")).collect::<Vec<_>>(), wanted);
    });
}

#[test]
fn an_operation_of_version_three_becomes_a_request() {
    let show = world(&orders(), "operationId: show, parameters: { id: o-1, expand: [ a, b ] }").run(json!({}));
    assert_eq!(show.http(0).url, "https://eu.orders.example/api/orders/.o-1?expand=a&expand=b");
    assert_eq!(header(show.http(0), "accept"), Some("application/json"));
    let with = "operationId: search, parameters: { filter: { min: 1, tag: [ a, b ] }, tags: [ x, y ], X-Trace: t, session: 's 1' }";
    let search = world(&orders(), with).run(json!({}));
    // A relative server lies beside the document.
    assert_eq!(
        search.http(0).url,
        "https://docs.example/search-api/search?filter%5Bmin%5D=1&filter%5Btag%5D=a&filter%5Btag%5D=b&tags=x,y"
    );
    assert_eq!(
        (header(search.http(0), "x-trace"), header(search.http(0), "cookie")),
        (Some("t"), Some("session=s%201"))
    );
    for with in [
        "operationId: place, parameters: { item: pen, count: '${ .n }' }",
        "operationId: place, parameters: { body: { item: pen, count: '${ .n }' } }",
    ] {
        let place = world(&orders(), with).run(json!({ "n": 2 }));
        assert_eq!(place.http(0).body.as_deref(), Some(&br#"{"item":"pen","count":2}"#[..]));
        assert_eq!(header(place.http(0), "content-type"), Some("application/json"));
        assert_eq!(header(place.http(0), "accept"), Some("application/hal+json"));
    }
    let note = world(&orders(), "operationId: note, parameters: { body: '# Hi' }").run(json!({}));
    assert_eq!(
        (note.http(0).body.as_deref(), header(note.http(0), "content-type")),
        (Some(&b"# Hi"[..]), Some("text/markdown"))
    );
    assert_eq!(world(&orders(), "operationId: note").run(json!({})).http(0).body, None);
}

#[test]
fn output_redirect_and_authentication_are_those_of_calls_over_http() {
    let with = "operationId: getPetById, parameters: { petId: '${ .id }' }, output: response, redirect: true,
                authentication: { basic: { username: ada, password: pw } }";
    let world = world(&petstore(), with).answers_json(302, json!({ "id": 1 })).run(json!({ "id": 7 }));
    assert_eq!(
        world.output(),
        json!({
            "request": { "method": "get", "uri": "https://pets.example/v2/pet/7", "headers": { "Accept": "application/json" } },
            "statusCode": 302, "headers": { "content-type": "application/json" }, "content": { "id": 1 },
        })
    );
    assert!(world.http(0).authentication.is_some());
    let failed =
        self::world(&petstore(), "operationId: getPetById, parameters: { petId: 7 }").answers_json(404, json!({}));
    let error = failed.run(json!({})).error();
    assert_has(&error, &problem("communication", 404, "/do/0/ask"));
    assert_eq!(error["detail"], json!("GET https://pets.example/v2/pet/{petId} answered with status 404"));
}

#[test]
fn secrets_among_the_parameters_are_sent_and_not_shown() {
    let text = format!(
        "use: {{ secrets: [ key ] }}\n{}",
        call(
            "operationId: deletePet, output: response, parameters: { petId: '${ $secrets.key }', api_key: '${ $secrets.key }' }"
        )
    );
    let world = World::with_documents(&text, &[(URL, &petstore().to_string())]);
    let world = world.secret("key", json!("s3cret")).answers_json(200, json!({})).run(json!({}));
    assert!(world.http(0).url.contains("s3cret"));
    assert_eq!(world.output()["request"], json!({ "method": "delete", "uri": "https://pets.example", "headers": {} }));
}

#[test]
fn values_that_are_missing_or_do_not_fit_are_validation_errors_when_it_runs() {
    for (document, with) in [
        (petstore(), "operationId: getPetById, parameters: { petId: '${ null }' }"),
        (petstore(), "operationId: getPetById, parameters: { petId: '' }"),
        (petstore(), "operationId: getPetById, parameters: { petId: '..' }"),
        (petstore(), "operationId: findPetsByStatus, parameters: { status: [ [ a ] ] }"),
        (petstore(), "operationId: addPet, parameters: { pet: '${ null }' }"),
        (orders(), "operationId: note, parameters: { body: { a: 1 } }"),
    ] {
        let world = world(&document, with).run(json!({}));
        assert_has(&world.error(), &problem("validation", 400, "/do/0/ask"));
        assert!(world.requests.is_empty());
    }
}

#[test]
fn what_does_not_fit_the_document_is_found_when_the_definition_is_loaded() {
    for (with, code, said) in [
        ("operationId: findPetByStatus", "FS-OPENAPI", "did you mean `findPetsByStatus`?"),
        ("operationId: findPetsByStatus", "FS-OPENAPI-PARAMETER", "needs the parameter `status`"),
        (
            "operationId: findPetsByStatus, parameters: { status: a, stat: b }",
            "FS-OPENAPI-PARAMETER",
            "no parameter `stat`",
        ),
        ("operationId: addPet", "FS-OPENAPI-PARAMETER", "needs the parameter `pet`"),
        (
            "operationId: uploadFile, parameters: { petId: 1, note: x }",
            "FS-OPENAPI-PARAMETER",
            "needs the parameter `file`",
        ),
        ("operationId: getPetById, parameters: []", "FS-WRONG-TYPE", "`parameters` must be a mapping"),
        ("operationId: getPetById, parameters: { petId: 1 }, output: none", "FS-VALUE", "`output` must be"),
        ("operationId: getPetById, parameters: { petId: 1 }, body: {}", "FS-UNKNOWN-KEY", "`body` is no key"),
        ("parameters: {}", "FS-MISSING-KEY", "needs `operationId`"),
        (
            "operationId: getPetById, parameters: { petId: '${ $authorization.scheme }' }, authentication: { digest: { username: a, password: b } }",
            "FS-AUTHORIZATION",
            "known only after the answer",
        ),
    ] {
        let found = compile(&petstore(), with).expect_err(with);
        assert_eq!(codes(&found), [code], "{with}");
        let text = definition(&call(with));
        assert!(found.render("flow.yaml", &text).contains(said), "{}", found.render("flow.yaml", &text));
    }
    let found =
        compile(&orders(), "operationId: place, parameters: { count: 1, itm: x }").expect_err("`item` is misspelt");
    assert_eq!(codes(&found), ["FS-OPENAPI-PARAMETER"; 2]);
}

#[test]
fn documents_that_can_not_be_used_are_told_where_they_are_named() {
    let operation = |more: Value| json!({ "openapi": "3.0.0", "paths": { "/a": { "get": more } } });
    for (document, said) in [
        (json!({ "swagger": "1.2" }), "neither OpenAPI 2.0"),
        (json!([]), "neither OpenAPI 2.0"),
        (
            operation(json!({ "operationId": "x", "parameters": [{ "$ref": "#/nowhere" }] })),
            "`#/nowhere` in it leads nowhere",
        ),
        (operation(json!({ "operationId": "x", "parameters": [{ "$ref": "other.json#/x" }] })), "`other.json#/x`"),
        (
            operation(json!({ "operationId": "x", "parameters": [{ "name": "p", "in": "moon" }] })),
            "`p` in it stands in no place",
        ),
        (
            operation(json!({ "operationId": "x", "parameters": [{ "name": "p", "in": "query", "style": "matrix" }] })),
            "a style that is unknown",
        ),
        (operation(json!({ "operationId": "x", "servers": [{ "url": "ftp://a.example" }] })), "neither http nor https"),
        (
            json!({ "openapi": "3.0.0", "paths": { "/a": { "get": { "operationId": "x" }, "put": { "operationId": "x" } } } }),
            "two operations `x`",
        ),
        (json!({ "openapi": "3.0.0", "paths": { "/a": { "$ref": "#/paths/~1a" } } }), "leads nowhere"),
    ] {
        let found = compile(&document, "operationId: x").expect_err(said);
        assert_eq!(codes(&found), ["FS-OPENAPI"]);
        assert!(found.iter().next().unwrap().message.contains(said), "{:?}", found.iter().next());
    }
    for broken in ["{ broken", "a: ["] {
        let found = compile_with(&call("operationId: x"), &[(URL, broken)]).expect_err("it is broken");
        assert!(found.iter().next().unwrap().message.contains("can't be read"));
    }
}

#[test]
fn a_document_may_be_yaml_and_without_it_a_definition_can_be_checked_but_not_run() {
    let yaml = "openapi: 3.0.3\nservers: [ { url: https://a.example } ]\npaths:\n  /x:\n    get: { operationId: x }\n";
    let world = World::with_documents(&call("operationId: x"), &[(URL, yaml)]).run(json!({}));
    assert_eq!(world.http(0).url, "https://a.example/x");
    let missing = World::new(&call("operationId: x"));
    assert_eq!(missing.plan.missing()[0].url, URL);
    let missing = missing.run(json!({}));
    assert_has(&missing.error(), &problem("configuration", 400, "/do/0/ask"));
}
