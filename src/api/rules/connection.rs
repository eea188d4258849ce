//! The rules of a `ClusterConnection`.

use serde_json::Value;

use super::texts::{
    LABEL, VARIABLE, duration_between, is_dns_shaped, is_duration_between, is_label, is_uuid,
    is_variable, size_or_zero, word,
};
use super::{Rule, has, keys, on};

/// The options of the Ceph client that may be set: those of the messenger and of the monitor client. Never a path, a
/// key, or a timeout that Poolwright sets itself.
const OPTIONS: [&str; 15] = [
    "mon_client_hunt_interval",
    "mon_client_hunt_parallel",
    "mon_client_ping_interval",
    "mon_client_ping_timeout",
    "ms_bind_ipv4",
    "ms_bind_ipv6",
    "ms_client_mode",
    "ms_connection_idle_timeout",
    "ms_crc_data",
    "ms_crc_header",
    "ms_initial_backoff",
    "ms_max_backoff",
    "ms_mon_client_mode",
    "ms_tcp_nodelay",
    "ms_tcp_rcvbuf",
];

/// Every rule.
pub(super) fn rules() -> Vec<Rule> {
    let mut rules = vec![
        Rule::new(
            "spec.monitors.[]",
            "self.matches('^[A-Za-z0-9_.:/,\\\\[\\\\]-]+$')",
            "a monitor address is written as in mon_host, without blanks: 192.0.2.11, v2:192.0.2.11:3300/0, \
             [v2:192.0.2.11:3300,v1:192.0.2.11:6789] or a host name",
            |value| word(value, "_.:/,[]-"),
        ),
        Rule::new(
            "spec.fsid",
            "self.matches('^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$')",
            "fsid is a UUID, as ceph fsid prints it",
            |value| value.as_str().is_some_and(|text| is_uuid(text, None)),
        ),
        Rule::new(
            "spec.user",
            "!self.startsWith('client.')",
            "write user without client.: poolwright, not client.poolwright",
            |value| !value.as_str().unwrap_or_default().starts_with("client."),
        ),
        Rule::new(
            "spec.user",
            "self.matches('^[A-Za-z0-9_.-]+$')",
            "user consists of letters, digits and _ . -",
            |value| word(value, "_.-"),
        ),
        Rule::new(
            "spec.keySecretRef.namespace",
            LABEL,
            "namespace is the name of a namespace",
            is_label,
        ),
        Rule::new(
            "spec.keySecretRef.name",
            "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",
            "name is the name of a Secret",
            |value| value.as_str().is_some_and(is_dns_shaped),
        ),
        Rule::new(
            "spec.keySecretRef.key",
            "self.matches('^[A-Za-z0-9_.-]+$')",
            "key consists of letters, digits and _ . -, as the entries of a Secret do",
            |value| word(value, "_.-"),
        ),
        Rule::new(
            "spec.client.options",
            format!("self.all(option, option in ['{}'])", OPTIONS.join("', '")),
            "only options that concern the connection to the monitors can be set, such as ms_client_mode; paths, keys, \
             logs and timeouts cannot",
            |value| keys(value).all(|key| OPTIONS.contains(&key)),
        ),
        Rule::new(
            "spec.client.options.{}",
            "self.matches('^[A-Za-z0-9_. ,-]+$')",
            "an option's value consists of letters, digits, blanks and _ . , -",
            |value| word(value, "_. ,-"),
        ),
        Rule::new(
            "spec.client.commandTimeout",
            duration_between("1s", "1h"),
            "commandTimeout is a duration from 1s to 1h, such as 30s or 1m30s",
            |value| is_duration_between(value, 1, 3600),
        ),
        Rule::new(
            "spec.resyncInterval",
            duration_between("10s", "24h"),
            "resyncInterval is a duration from 10s to 24h, such as 10m or 1h30m",
            |value| is_duration_between(value, 10, 86_400),
        ),
    ];
    rules.extend(grants());
    rules
}

/// The rules of a grant.
fn grants() -> [Rule; 10] {
    [
        Rule::new(
            "spec.grants.[].name",
            LABEL,
            "a grant's name consists of lower-case letters, digits and -",
            is_label,
        ),
        Rule::new(
            "spec.grants.[].namespaces",
            "(has(self.names) && size(self.names) > 0) || has(self.selector) || (has(self.all) && self.all)",
            "say which namespaces are meant: names, selector or all: true",
            |value| {
                let named = value.get("names").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
                named || has(value, "selector") || on(value, "all")
            },
        ),
        Rule::new(
            "spec.grants.[].namespaces",
            "!has(self.selector) || (has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0) || \
             (has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0)",
            "an empty selector would mean every namespace: say all: true if that is meant",
            |value| value.get("selector").is_none_or(selects_something),
        )
        .blames("selector"),
        Rule::new("spec.grants.[].namespaces.names.[]", LABEL, "names are the names of namespaces", is_label),
        Rule::new(
            "spec.grants.[].poolNames.[]",
            "!self.startsWith('.') || !self.matches('[*?]')",
            "a pool name that begins with a dot is granted only literally, without * and ?",
            |value| {
                let text = value.as_str().unwrap_or_default();
                !text.starts_with('.') || !text.contains(['*', '?'])
            },
        ),
        Rule::new(
            "spec.grants.[].poolNames.[]",
            "!self.matches('\\\\p{Cc}')",
            "a pool name cannot contain control characters",
            |value| !value.as_str().unwrap_or_default().contains(char::is_control),
        ),
        size_or_zero("spec.grants.[].limits.quotaBytes"),
        Rule::new(
            "spec.grants.[].crushRules.[]",
            "self.matches('^[A-Za-z0-9_.-]+$')",
            "the name of a CRUSH rule consists of letters, digits and _ . -",
            |value| word(value, "_.-"),
        ),
        Rule::new(
            "spec.grants.[].deviceClasses.[]",
            "self.matches('^[A-Za-z0-9_.-]+$')",
            "a device class consists of letters, digits and _ . -",
            |value| word(value, "_.-"),
        ),
        Rule::new(
            "spec.grants.[].parameters.[]",
            format!("self.matches('{VARIABLE}')"),
            "a parameter's name consists of lower-case letters, digits and _",
            |value| value.as_str().is_some_and(is_variable),
        ),
    ]
}

/// Whether a label selector has anything to select by.
fn selects_something(selector: &Value) -> bool {
    let labels = selector
        .get("matchLabels")
        .is_some_and(|labels| keys(labels).next().is_some());
    let expressions = selector
        .get("matchExpressions")
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty());
    labels || expressions
}
