//! Requests as the API shows them.

use serde_json::json;

use super::*;

fn request(status: &serde_json::Value) -> CephRequest {
    let object = json!({
        "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephRequest",
        "metadata": {
            "name": "24b1fc3e-19e8-4fab-a6a3-9eebfd030ffd", "namespace": "team-a",
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": {
            "poolRef": {"name": "foo", "uid": "u", "generation": 2}, "connection": "main", "operation": "Update",
            "changedFields": ["quota.maxBytes"],
        },
        "status": status,
    });
    serde_json::from_value(object).expect("a request")
}

/// Calamari's fields tell Calamari's story, with the epochs it never told.
#[test]
fn requests() {
    let shown = |status: serde_json::Value| {
        serde_json::to_value(user_request(&request(&status))).expect("JSON")
    };
    let new = shown(json!(null));
    assert_eq!(
        new,
        json!({
            "id": "24b1fc3e-19e8-4fab-a6a3-9eebfd030ffd", "state": "new", "error": false, "error_message": "",
            "headline": "", "status": "Waiting to begin", "requested_at": "2026-01-02T03:04:05.000000+00:00",
            "completed_at": null, "requested_by": null, "operation": "update", "connection": "main",
            "namespace": "team-a", "object": "foo", "changed_fields": ["quota.maxBytes"], "outcome": null,
            "awaited_epoch": null, "observed_epoch": null, "rounds": [],
        })
    );
    let running = shown(json!({"state": "Submitted", "headline": "h"}));
    assert_eq!(
        (&running["state"], &running["status"]),
        (&json!("submitted"), &json!("Running"))
    );
    let awaiting = shown(json!({"state": "AwaitingOsdMap", "awaitedEpoch": 12}));
    assert_eq!(awaiting["state"], "submitted");
    assert_eq!(awaiting["status"], "Waiting for OSD map epoch 12");
    let done = shown(json!({
        "state": "Complete", "outcome": "Succeeded", "completedAt": "2026-01-02T03:04:06Z", "observedEpoch": 13,
        "rounds": [{"epoch": 12, "commands": [{"command": "ceph osd pool set-quota foo max_bytes 1", "code": 0}]}],
    }));
    assert_eq!(
        (&done["state"], &done["error"]),
        (&json!("complete"), &json!(false))
    );
    assert_eq!(done["status"], "Completed successfully");
    assert_eq!(done["rounds"][0]["epoch"], 12);
    assert_eq!(done["rounds"][0]["commands"][0]["code"], 0);
}

/// A request that did not succeed is an error, and says why in some words.
#[test]
fn errors() {
    for (outcome, error, told) in [
        ("Failed", Some("no room"), "no room"),
        ("Cancelled", None, "cancelled"),
        ("Superseded", Some(""), "superseded"),
    ] {
        let ended = user_request(&request(
            &json!({"state": "Complete", "outcome": outcome, "error": error}),
        ));
        assert!(ended.error);
        assert_eq!(ended.error_message, told);
        assert_eq!(ended.status, format!("Failed ({told})"));
    }
}

/// Entity tags are compared as RFC 9110 says for reads.
#[test]
fn entity_tags() {
    for (header, fits) in [
        ("\"12\"", true),
        ("W/\"12\"", true),
        ("\"11\", \"12\"", true),
        ("*", true),
        ("\"1\"", false),
        ("12", false),
        ("", false),
    ] {
        assert_eq!(names(header, "\"12\""), fits, "{header}");
    }
}
