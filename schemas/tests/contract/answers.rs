//! Answers to commands as their senders see them.

use flagstop_schemas::{
    Answer, Asked, CloudEvent, Data, Entry, InstanceId, LateResult, Validators, journal, message_key,
};
use serde_json::json;

use crate::samples::{data, header};

fn asked() -> Asked {
    let ty = "io.flagstop.command.cancel.v1".to_owned();
    Asked { id: "c-1".into(), source: "/hr/portal".into(), ty }
}

fn rejected() -> Answer {
    Answer::Rejected { code: "FS-INSTANCE-ENDED".into(), reason: "the instance has already ended".into() }
}

#[test]
fn an_answer_names_its_command_and_says_why_it_was_rejected() {
    let instance = header().instance;
    let accepted = asked().answer(&Answer::Accepted, Some(instance), 1_763_721_180_123_456);
    assert_eq!(accepted.ty, "io.flagstop.command.accepted.v1");
    assert_eq!(accepted.subject, Some(instance.to_string()));
    assert_eq!(accepted.extensions["causationid"], "c-1");
    assert_eq!(accepted.extensions["causationsource"], "/hr/portal");
    let about = json!({ "commandId": "c-1", "commandSource": "/hr/portal",
                        "commandType": "io.flagstop.command.cancel.v1", "instance": instance.to_string() });
    assert_eq!(data(&accepted), about);
    let refused = asked().answer(&rejected(), None, 0);
    assert_eq!(refused.ty, "io.flagstop.command.rejected.v1");
    assert_eq!(data(&refused)["code"], "FS-INSTANCE-ENDED");
    assert_eq!(data(&refused)["reason"], "the instance has already ended");
    for answer in [accepted, refused] {
        Validators::new().check_answer(&answer).unwrap();
        assert_eq!(
            answer.dataschema,
            Some(format!("https://flagstop.io/schemas/command/{}.schema.json", &answer.ty[20..]))
        );
    }
    assert_eq!(Answer::routing_key("io.flagstop.command.accepted.v1"), Some("command.accepted"));
    assert_eq!(Answer::routing_key("io.flagstop.command.rejected.v1"), Some("command.rejected"));
    assert_eq!(Answer::routing_key("io.flagstop.command.cancel.v1"), None);
}

#[test]
fn an_answer_has_one_id_per_command_and_verdict() {
    let again = |answer: &Answer, at_us| asked().answer(answer, None, at_us).id;
    assert_eq!(again(&Answer::Accepted, 1), again(&Answer::Accepted, 2));
    assert_ne!(again(&Answer::Accepted, 1), again(&rejected(), 1), "a redriven command may be accepted after all");
    let other = Asked { id: "c-2".into(), ..asked() };
    assert_ne!(again(&Answer::Accepted, 1), other.answer(&Answer::Accepted, None, 1).id);
    assert_ne!(again(&Answer::Accepted, 1), message_key("/hr/portal", "c-1").0.to_string());
}

#[test]
fn an_answer_that_breaks_its_schema_is_refused() {
    let wrong = |change: fn(&mut CloudEvent)| {
        let mut answer = asked().answer(&rejected(), None, 0);
        change(&mut answer);
        Validators::new().check_answer(&answer).expect_err("it is refused").to_string()
    };
    let put = |name: &str, answer: &mut CloudEvent, value: serde_json::Value| {
        let mut fields = data(answer);
        fields[name] = value;
        answer.data = Data::Json(fields.to_string().into());
    };
    assert!(wrong(|answer| answer.ty = "io.flagstop.command.cancel.v1".into()).contains("FS-STATUS-TYPE"));
    assert!(wrong(|answer| answer.time = None).contains("`time`"));
    assert!(wrong(|answer| answer.data = Data::Absent).contains("FS-STATUS-DATA"));
    let mut more = asked().answer(&rejected(), None, 0);
    put("extra", &mut more, json!(1));
    Validators::new().check_answer(&more).expect_err("an unknown field");
    let mut code = asked().answer(&rejected(), None, 0);
    put("code", &mut code, json!("nothing"));
    Validators::new().check_answer(&code).expect_err("a code of another form");
}

#[test]
fn answers_survive_the_journal_beside_status_events_and_older_rows_keep_their_format() {
    let event = asked().answer(&rejected(), Some(InstanceId(uuid::Uuid::nil())), 7);
    let row = journal::encode(&header(), &[Entry::Answer(Box::new(event.clone()))]);
    let (_, entries) = journal::decode(&row).unwrap();
    let [Entry::Answer(again)] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(**again, event);
    let plain = journal::encode(&header(), &[Entry::Emitted(Box::new(event))]);
    assert_eq!((plain[0], row[0]), (1, 2), "what older builds can read stays readable for them");
}

/// A late result comes back as it went in, and is no event.
#[test]
fn a_late_result_is_kept_in_the_journal() {
    let late = LateResult { task: "/do/0/pay".to_owned(), result: "HTTP 200".to_owned() };
    let row = journal::encode(&header(), &[Entry::Late(late.clone())]);
    let (_, entries) = journal::decode(&row).unwrap();
    let [Entry::Late(again)] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(*again, late);
}
