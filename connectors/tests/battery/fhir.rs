//! FHIR servers, well-behaved and not.

use std::sync::Arc;

use engine::connector::Destination;
use serde_json::{Value, json};

use crate::far::{Far, answer, header};
use crate::http_destination::arm;
use crate::{destination, outgoing, paths};

async fn server(far: &Far, more: Value) -> Arc<dyn Destination> {
    let mut settings = json!({ "base": far.url("/fhir/"), "reply_timeout": "400ms" });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    destination("fhir", settings).await
}

const BUNDLE: &str = r#"{"resourceType":"Bundle","type":"transaction","entry":[
    {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","active":true},
     "request":{"method":"PUT","url":"Patient?identifier=urn:x|7"}},
    {"fullUrl":"urn:uuid:2","resource":{"resourceType":"Encounter","subject":{"reference":"urn:uuid:1"}},
     "request":{"method":"POST","url":"Encounter","ifNoneExist":"identifier=8"}},
    {"fullUrl":"urn:uuid:3","resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:1"},
      "encounter":{"reference":"urn:uuid:2"},"valueQuantity":{"value":5.40}},
     "request":{"method":"PUT","url":"Observation?identifier=9"}}]}"#;

#[tokio::test]
async fn a_transaction_is_one_request() {
    let far = Far::new().await;
    let server = server(&far, json!({})).await;
    let said = r#"{"resourceType":"Bundle","type":"transaction-response"}"#;
    let requests = far.answers(&[&answer("200 OK", "Content-Type: application/fhir+json\r\n", said)]);
    let result = server.send(&outgoing(BUNDLE), &|_: &[u8]| false).await;
    assert_eq!(arm(&result), format!("answer 200 {said}"));
    let request = requests.await.unwrap().remove(0);
    assert!(request.starts_with("POST /fhir HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(BUNDLE));
    assert_eq!(
        header(&request, "content-type").as_deref(),
        Some("application/fhir+json")
    );
    assert_eq!(
        header(&request, "accept").as_deref(),
        Some("application/fhir+json")
    );
    assert_eq!(header(&request, "prefer").as_deref(), Some("return=minimal"));
    let key = crate::outgoing(BUNDLE).key().to_string();
    assert_eq!(header(&request, "x-request-id"), Some(key));
    let requests = far.answers(&[&answer("200 OK", "", "{}")]);
    server.probe().await.unwrap();
    assert!(requests.await.unwrap()[0].starts_with("GET /fhir/metadata HTTP/1.1\r\n"));
    let requests = far.answers(&[&answer("401 Unauthorized", "", "")]);
    assert!(server.probe().await.is_err());
    requests.await.unwrap();
}

#[tokio::test]
async fn resources_go_one_by_one_with_the_ids_of_the_server() {
    let far = Far::new().await;
    let server = server(&far, json!({ "as": "resources" })).await;
    let patient = answer("200 OK", "", r#"{"id":"p1","resourceType":"Patient"}"#);
    let encounter = answer(
        "201 Created",
        &format!("Location: {}\r\n", far.url("/fhir/Encounter/e1/_history/1")),
        "",
    );
    let observation = answer("201 Created", "Location: Observation/o1\r\n", "");
    let requests = far.answers(&[&patient, &encounter, &observation]);
    let response = server.send(&outgoing(BUNDLE), &|_: &[u8]| false).await.unwrap();
    let requests = requests.await.unwrap();
    assert!(
        requests[0].starts_with("PUT /fhir/Patient?identifier=urn:x%7C7 HTTP/1.1\r\n"),
        "{}",
        requests[0]
    );
    assert!(requests[1].starts_with("POST /fhir/Encounter HTTP/1.1\r\n"));
    assert_eq!(
        header(&requests[1], "if-none-exist").as_deref(),
        Some("identifier=8")
    );
    assert!(requests[1].contains(r#""subject":{"reference":"Patient/p1"}"#));
    assert!(requests[2].contains(r#""encounter":{"reference":"Encounter/e1"}"#));
    assert!(requests[2].contains("5.40"));
    assert_eq!(
        header(&requests[2], "prefer").as_deref(),
        Some("return=representation")
    );
    let summary: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(response.status, Some(200));
    assert_eq!(summary["type"], "transaction-response");
    assert_eq!(
        summary["entry"][0]["response"],
        json!({ "status": "200 OK", "location": "Patient/p1" })
    );
    assert_eq!(
        summary["entry"][2]["response"],
        json!({ "status": "201 Created", "location": "Observation/o1" })
    );
}

#[tokio::test]
async fn the_first_refusal_ends_it() {
    let far = Far::new().await;
    let server = server(&far, json!({ "as": "resources" })).await;
    let patient = answer("200 OK", "Location: Patient/p1\r\n", "");
    let refusal = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#;
    let requests = far.answers(&[&patient, &answer("422 Unprocessable Entity", "", refusal)]);
    let response = server.send(&outgoing(BUNDLE), &|_: &[u8]| false).await.unwrap();
    assert_eq!(requests.await.unwrap().len(), 2);
    let summary: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(response.status, Some(422));
    assert_eq!(
        summary["entry"][1]["response"]["outcome"]["issue"][0]["code"],
        "invalid"
    );
    assert_eq!(summary["entry"][2]["response"]["status"], "424 Failed Dependency");
    // HTML from something in between: a refusal is one all the same.
    let requests = far.answers(&[&answer("502 Bad Gateway", "", "<html>")]);
    let response = server.send(&outgoing(BUNDLE), &|_: &[u8]| false).await.unwrap();
    assert_eq!(response.status, Some(502));
    requests.await.unwrap();
}

#[tokio::test]
async fn the_arm_is_what_is_known() {
    let far = Far::new().await;
    let server = server(&far, json!({ "as": "resources" })).await;
    let silent = far.says_nothing();
    let found = arm(&server.send(&outgoing(BUNDLE), &|_: &[u8]| false).await);
    assert_eq!(found, "unsure Bundle.entry[0]: No answer in time.");
    silent.await.unwrap();
    let requests = far.answers(&[
        &answer("200 OK", "Location: Patient/p1\r\n", ""),
        &answer("429 Slow", "Retry-After: 3\r\n", ""),
    ]);
    let found = arm(&server.send(&outgoing(BUNDLE), &|_: &[u8]| false).await);
    assert!(found.starts_with("retry Some(3s) Bundle.entry[1]: "), "{found}");
    requests.await.unwrap();
    // The server does not tell the id that others need.
    let requests = far.answers(&[&answer("200 OK", "", "")]);
    let found = arm(&server.send(&outgoing(BUNDLE), &|_: &[u8]| false).await);
    assert!(found.starts_with("refused entry[1], entry[2] refer"), "{found}");
    requests.await.unwrap();
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"resourceType":"Bundle","entry":[{"resource":{}}]}"#,
    ] {
        let found = arm(&server.send(&outgoing(body), &|_: &[u8]| false).await);
        assert!(found.starts_with("refused"), "{found}");
    }
    drop(far);
    let found = arm(&server.send(&outgoing(BUNDLE), &|_: &[u8]| false).await);
    assert!(
        found.starts_with("retry None Bundle.entry[0]: The far side can't be reached"),
        "{found}"
    );
}

#[test]
fn settings_are_checked() {
    let fhir = connectors::all().get("fhir").unwrap();
    assert_eq!(
        fhir.check_destination(&json!({ "base": "https://portal.example/fhir" })),
        []
    );
    let problems = fhir.check_destination(&json!({ "base": "portal", "auth": {}, "reply_timeout": "x" }));
    assert_eq!(paths(&problems), ["base", "auth", "reply_timeout"]);
    assert_eq!(
        paths(&fhir.check_destination(&json!({ "base": "https://portal/fhir?x=1" }))),
        ["base"]
    );
    assert_eq!(
        fhir.check_destination(&json!({ "base": "https://portal/fhir", "as": "batch" }))
            .len(),
        1
    );
    assert_eq!(fhir.check_source(&json!({})).len(), 1);
    let schema = fhir.destination_schema().unwrap();
    assert_eq!(schema["properties"]["as"]["default"], json!("transaction"));
}
