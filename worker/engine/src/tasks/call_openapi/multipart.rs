//! Forms in parts (RFC 7578), the same bytes for the same values, as a request must be when it is made again.

use std::fmt::Write as _;

use bytes::Bytes;
use flagstop_schemas::Hash16;

use crate::tasks::http::scalar;
use crate::value::{self, Value};

/// The form and its media type. `files`: the fields that hold the content of a file.
pub(super) fn write(fields: &Value, files: &[&str]) -> (Bytes, String) {
    // Made of the content, so nobody can have put it into the content.
    let hash = Hash16::of("flagstop/multipart", &[&value::to_json_bytes(fields)]);
    let boundary = format!("flagstop-{}", hash.0.simple());
    let mut form = String::new();
    for (name, found) in value::entries(fields) {
        let all = value::as_array(found).unwrap_or(std::slice::from_ref(found));
        for one in all.iter().filter(|one| !value::is_null(one)) {
            let quoted = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
            // Writing to a string can't fail.
            let _ = write!(form, "--{boundary}\r\nContent-Disposition: form-data; name=\"{quoted}\"");
            if files.contains(&name) {
                let _ = write!(form, "; filename=\"{quoted}\"\r\nContent-Type: application/octet-stream");
            }
            match scalar(one) {
                Some(text) => drop(write!(form, "\r\n\r\n{text}\r\n")),
                None => drop(write!(form, "\r\nContent-Type: application/json\r\n\r\n{}\r\n", value::to_json(one))),
            }
        }
    }
    let _ = write!(form, "--{boundary}--\r\n");
    (form.into(), format!("multipart/form-data; boundary={boundary}"))
}
