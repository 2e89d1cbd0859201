//! `auth`: who asks, and what that one may do.

use std::process::ExitCode;

use anyhow::{Result, bail};
use api::Value;
use api::object::list_at;
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use crate::client::Api;
use crate::mapper::Mapper;
use crate::print::table::align;
use crate::print::{Output, output_args};
use crate::verb::{Ctx, Verb};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

pub(crate) struct Auth;

#[async_trait]
impl Verb for Auth {
    fn command(&self) -> Command {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        Command::new("auth")
            .about("Inspect authorization")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(
                Command::new("can-i")
                    .about("Check whether an action is allowed")
                    .arg(Arg::new("verb").value_name("VERB"))
                    .arg(Arg::new("what").value_name("TYPE | TYPE/NAME | URL"))
                    .arg(Arg::new("name").value_name("NAME"))
                    .arg(flag("all-namespaces", "In all namespaces").short('A'))
                    .arg(flag("quiet", "Say it by the exit status only").short('q'))
                    .arg(flag("list", "Everything that is allowed"))
                    .arg(flag("no-headers", "Leave the headings out"))
                    .arg(Arg::new("subresource").long("subresource").help("log, scale and so on")),
            )
            .subcommand(
                Command::new("whoami")
                    .about("Who the server takes the asker for")
                    .args(output_args()),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        match args.subcommand() {
            Some(("whoami", own)) => whoami(&api, own).await,
            Some((_, own)) if own.get_flag("list") => allowed(&api, own).await,
            Some((_, own)) => can_i(&api, own).await,
            None => Ok(ExitCode::from(2)),
        }
    }
}

async fn can_i(api: &Api, args: &ArgMatches) -> Result<ExitCode> {
    let text = |name: &str| args.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let (verb, what) = (text("verb"), text("what"));
    if verb.is_empty() || what.is_empty() {
        bail!("you must specify two or three arguments: verb, resource, and optional resourceName");
    }
    let spec = if what.starts_with('/') {
        json!({ "nonResourceAttributes": { "verb": verb, "path": what } })
    } else {
        let (kind, name) = what.split_once('/').unwrap_or((what, text("name")));
        let mapper = Mapper::discover(api).await?;
        let place = if args.get_flag("all-namespaces") { "" } else { api.namespace() };
        let mut own = json!({ "verb": verb, "name": name, "subresource": text("subresource"),
            "namespace": place, "resource": kind });
        match mapper.resource(kind) {
            Ok(mapping) => {
                own["group"] = mapping.group.clone().into();
                own["resource"] = mapping.plural.clone().into();
                if !mapping.namespaced {
                    own["namespace"] = "".into();
                    if !args.get_flag("all-namespaces") {
                        eprintln!(
                            "Warning: resource '{}' is not namespace scoped{}\n",
                            mapping.plural,
                            if mapping.group.is_empty() {
                                String::new()
                            } else {
                                format!(" in group '{}'", mapping.group)
                            }
                        );
                    }
                }
            }
            Err(_) if kind == "*" => own["group"] = "*".into(),
            Err(error) => eprintln!("Warning: {error}\n"),
        }
        json!({ "resourceAttributes": own })
    };
    let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec });
    let answer = api.send("POST", &format!("{REVIEWS}/selfsubjectaccessreviews"), &review).await?;
    let (is_allowed, words) = verdict(&answer["status"]);
    if !args.get_flag("quiet") {
        crate::outln!("{words}");
    }
    Ok(if is_allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(status: &Value) -> (bool, String) {
    if status["allowed"] == true {
        return (true, "yes".to_owned());
    }
    let mut words = "no".to_owned();
    for (field, head) in [("reason", " - "), ("evaluationError", " - ")] {
        if let Some(text) = status[field].as_str().filter(|own| !own.is_empty()) {
            words.push_str(&format!("{head}{text}"));
        }
    }
    (false, words)
}

async fn allowed(api: &Api, args: &ArgMatches) -> Result<ExitCode> {
    let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": { "namespace": api.namespace() } });
    let answer = api.send("POST", &format!("{REVIEWS}/selfsubjectrulesreviews"), &review).await?;
    let mut rows = Vec::new();
    if !args.get_flag("no-headers") {
        rows.push(
            ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"]
                .map(str::to_owned)
                .to_vec(),
        );
    }
    rows.extend(rules(&answer["status"]));
    crate::out!("{}", align(&rows));
    Ok(ExitCode::SUCCESS)
}

fn words(rule: &Value, field: &str) -> String {
    let all: Vec<_> = list_at(rule, &[field]).iter().filter_map(Value::as_str).collect();
    format!("[{}]", all.join(" "))
}

fn rules(status: &Value) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for rule in list_at(status, &["resourceRules"]) {
        let groups = list_at(rule, &["apiGroups"]);
        for group in groups.iter().filter_map(Value::as_str) {
            for resource in list_at(rule, &["resources"]).iter().filter_map(Value::as_str) {
                let form = if group.is_empty() {
                    resource.to_owned()
                } else {
                    format!("{resource}.{group}")
                };
                rows.push(vec![
                    form,
                    "[]".to_owned(),
                    words(rule, "resourceNames"),
                    words(rule, "verbs"),
                ]);
            }
        }
    }
    rows.sort();
    for rule in list_at(status, &["nonResourceRules"]) {
        rows.push(vec![
            String::new(),
            words(rule, "nonResourceURLs"),
            "[]".to_owned(),
            words(rule, "verbs"),
        ]);
    }
    rows
}

async fn whoami(api: &Api, args: &ArgMatches) -> Result<ExitCode> {
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = api.send("POST", path, &review).await?;
    let output = Output::from_args(args)?;
    if output.is_table() {
        crate::out!("{}", align(&attributes(&answer["status"]["userInfo"])));
    } else {
        output.print(&answer, None)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn attributes(user: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![vec!["ATTRIBUTE".to_owned(), "VALUE".to_owned()]];
    let mut push = |key: String, value: String| {
        if !value.is_empty() && value != "[]" {
            rows.push(vec![key, value]);
        }
    };
    push("Username".into(), user["username"].as_str().unwrap_or_default().to_owned());
    push("UID".into(), user["uid"].as_str().unwrap_or_default().to_owned());
    push("Groups".into(), words(user, "groups"));
    for key in user["extra"].as_object().into_iter().flatten().map(|(key, _)| key) {
        push(format!("Extra: {key}"), words(&user["extra"], key));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_kubectls_words() {
        let check = |status: Value, expected: &str| assert_eq!(verdict(&status).1, expected);
        check(json!({"allowed": true}), "yes");
        check(json!({"allowed": false}), "no");
        check(json!({"allowed": false, "reason": "x"}), "no - x");
        let user = json!({"username": "u", "groups": ["a", "b"], "extra": {"k": ["v"]}});
        assert_eq!(
            align(&attributes(&user)),
            "ATTRIBUTE   VALUE\nUsername    u\nGroups      [a b]\nExtra: k    [v]\n"
        );
    }

    #[test]
    fn rules_a_line_each() {
        let status = json!({"resourceRules": [{"apiGroups": ["", "apps"], "resources": ["x"], "verbs": ["get", "list"]}],
            "nonResourceRules": [{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}]});
        let expected = [
            ["x", "[]", "[]", "[get list]"],
            ["x.apps", "[]", "[]", "[get list]"],
            ["", "[/healthz]", "[]", "[get]"],
        ];
        assert_eq!(rules(&status), expected.map(|row| row.map(str::to_owned).to_vec()));
    }
}
