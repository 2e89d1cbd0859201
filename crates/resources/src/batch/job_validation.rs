//! What is wrong with a job.

use api::Value;
use api::field::{ErrorList, FieldError};
use api::object::remove;
use api::validate;

use crate::check::{
    self, domain_prefixed_path, immutable, label_selector, non_negatives, one_of, required,
    required_one_of,
};
use crate::core::pod::validation;
use crate::cursor::{Field, same};

/// More parallel pods than this are not allowed where indexes are counted.
const PARALLELISM_MAX: i64 = 100_000;

/// What is wrong with a job, new or changed.
pub(super) fn job(job: Field<'_>, errors: &mut ErrorList) {
    let spec = job.get("spec");
    generated_selector(job, errors);
    self::spec(spec, errors);
    if spec.get("completionMode").str() == "Indexed" {
        let completions = spec.get("completions").int().unwrap_or_default();
        if completions > 0 {
            let name = job.at(&["metadata", "name"]);
            let longest = format!("{}-{}", name.str(), completions - 1);
            for text in validate::dns1123_label(&longest) {
                let text =
                    format!("will not able to create pod with invalid DNS label name: {text}");
                errors.push(name.invalid(text));
            }
        }
    }
}

fn generated_selector(job: Field<'_>, errors: &mut ErrorList) {
    let spec = job.get("spec");
    if spec.get("manualSelector").bool() {
        return;
    }
    let selector = spec.get("selector");
    let shown = || selector.value().cloned().unwrap_or(Value::Null);
    let labels = selector.get("matchLabels");
    let uid = job.at(&["metadata", "uid"]).str();
    // Nothing but the generated label: what the maker added would select other pods.
    let matches = ["batch.kubernetes.io/controller-uid", "controller-uid"]
        .iter()
        .any(|key| labels.has(key) && labels.key(key).str() == uid);
    let alone = labels.len() == 1 && selector.get("matchExpressions").is_empty();
    if selector.is_set() && !(matches && alone) {
        errors.push(selector.invalid_as(shown(), "`selector` not auto-generated"));
    }
}

/// What is wrong with a job's spec, in a job or in a template of one.
pub(crate) fn spec(spec: Field<'_>, errors: &mut ErrorList) {
    let selector = spec.get("selector");
    if selector.is_set() {
        label_selector(selector, errors);
    } else {
        errors.push(selector.required(""));
    }
    let labels = spec.at(&["template", "metadata", "labels"]);
    if !selector.is_set() || !check::selector_matches(selector, labels) {
        let value = labels.value().cloned().unwrap_or_default();
        let text = "`selector` does not match template `labels`";
        errors.push(labels.invalid_as(value, text));
    }
    template_spec(spec, errors);
}

/// The part that a CronJob's template has too.
pub(crate) fn template_spec(spec: Field<'_>, errors: &mut ErrorList) {
    let counts = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    non_negatives(spec, &counts, errors);
    indexed(spec, errors);
    let managed = spec.get("managedBy");
    if managed.is_set() {
        domain_prefixed_path(managed, errors);
        if managed.str().len() > 63 {
            errors.push(managed.too_long(63));
        }
    }
    failure_policy(spec, errors);
    success_policy(spec, errors);
    let replacement = spec.get("podReplacementPolicy");
    if spec.get("podFailurePolicy").is_set() {
        one_of(replacement, &["Failed"], errors);
    } else {
        one_of(replacement, &["Failed", "TerminatingOrFailed"], errors);
    }
    validation::template(spec.get("template"), errors);
    let policy = spec.at(&["template", "spec", "restartPolicy"]);
    match policy.str() {
        "OnFailure" | "Never" => {}
        "" => errors.push(policy.required("valid values: \"OnFailure\", \"Never\"")),
        _ => errors.push(policy.not_supported(&["OnFailure", "Never"])),
    }
    if spec.get("podFailurePolicy").is_set() && policy.str() != "Never" {
        let text = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.push(policy.invalid(text));
    }
}

fn indexed(spec: Field<'_>, errors: &mut ErrorList) {
    let mode = spec.get("completionMode");
    one_of(mode, &["Indexed", "NonIndexed"], errors);
    let (completions, parallelism) = (spec.get("completions"), spec.get("parallelism"));
    let (per_index, failed) = (spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"));
    if mode.str() == "Indexed" {
        if !completions.is_set() {
            errors.push(completions.required("when completion mode is Indexed"));
        }
        if parallelism.int().is_some_and(|value| value > PARALLELISM_MAX) {
            let text = format!(
                "must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed"
            );
            errors.push(parallelism.invalid(text));
        }
    } else {
        if per_index.is_set() {
            errors.push(per_index.invalid("requires indexed completion mode"));
        }
        if failed.is_set() {
            errors.push(failed.invalid("requires indexed completion mode"));
        }
    }
    let Some(max_failed) = failed.int() else { return };
    if !per_index.is_set() {
        errors.push(per_index.required("when maxFailedIndexes is specified"));
    }
    if let Some(completions) = completions.int() {
        if max_failed > completions {
            errors.push(failed.invalid("must be less than or equal to completions"));
        }
        if max_failed > 100_000 {
            errors.push(failed.invalid("must be less than or equal to 100000"));
        }
        if completions > 100_000 {
            if max_failed > 10_000 {
                let text = "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index";
                errors.push(failed.invalid(text));
            }
            if parallelism.int().is_some_and(|value| value > 10_000) {
                let text = "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index";
                errors.push(parallelism.invalid(text));
            }
        }
    }
}

fn failure_policy(spec: Field<'_>, errors: &mut ErrorList) {
    let rules = spec.at(&["podFailurePolicy", "rules"]);
    if rules.len() > 20 {
        errors.push(rules.too_many(20));
    }
    let names: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.at(&["template", "spec"]).get(list).items())
        .map(|one| one.get("name").str())
        .collect();
    for rule in rules.items() {
        let action = rule.get("action");
        if required(action, errors) {
            one_of(action, &["Count", "FailIndex", "FailJob", "Ignore"], errors);
        }
        if action.str() == "FailIndex" && !spec.get("backoffLimitPerIndex").is_set() {
            let text = "requires the backoffLimitPerIndex to be set";
            errors.push(action.invalid(text));
        }
        let (codes, conditions) = (rule.get("onExitCodes"), rule.get("onPodConditions"));
        match (codes.is_set(), !conditions.is_empty()) {
            (true, true) => {
                let text = "specifying both OnExitCodes and OnPodConditions is not supported";
                errors.push(rule.invalid_unshown(text));
            }
            (false, false) => {
                let text = "specifying one of OnExitCodes and OnPodConditions is required";
                errors.push(rule.invalid_unshown(text));
            }
            _ => {}
        }
        if codes.is_set() {
            exit_codes(codes, &names, errors);
        }
        for condition in conditions.items() {
            let kind = condition.get("type");
            errors.extend(
                validate::qualified_name(kind.str()).into_iter().map(|text| kind.invalid(text)),
            );
        }
        if conditions.len() > 20 {
            errors.push(conditions.too_many(20));
        }
        for pattern in conditions.items() {
            required(pattern.get("type"), errors);
            required_one_of(pattern.get("status"), &["False", "True", "Unknown"], errors);
        }
    }
}

fn exit_codes(codes: Field<'_>, containers: &[&str], errors: &mut ErrorList) {
    let operator = codes.get("operator");
    required_one_of(operator, &["In", "NotIn"], errors);
    let container = codes.get("containerName");
    if container.is_set() && !containers.contains(&container.str()) {
        let text = "must be one of the container or initContainer names in the pod template";
        errors.push(container.invalid(text));
    }
    let values = codes.get("values");
    let shown = || values.value().cloned().unwrap_or_default();
    if values.is_empty() {
        errors.push(values.invalid_as(serde_json::json!([]), "at least one value is required"));
    } else if values.len() > 255 {
        errors.push(values.too_many(255));
    }
    let numbers: Vec<i64> = values.items().filter_map(Field::int).collect();
    for (index, number) in numbers.iter().enumerate() {
        if operator.str() == "In" && *number == 0 {
            errors.push(values.index(index).invalid("must not be 0 for the In operator"));
        }
        if numbers[..index].contains(number) {
            errors.push(values.index(index).duplicate());
        }
    }
    if !numbers.is_sorted() {
        errors.push(values.invalid_as(shown(), "must be ordered"));
    }
}

/// The indexes of `1,3-5`; `None` when the text is no such list.
fn intervals(text: &str, completions: i64) -> Result<i64, String> {
    let mut last = -1;
    let mut total = 0;
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.parse::<i64>()
                .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))
        };
        let (from, to) = (number(from)?, number(to)?);
        if from <= last || to < from {
            return Err(format!("non-increasing order, previous: {last}, current: {from}"));
        }
        if to >= completions {
            return Err(format!("too large index: {to:?}"));
        }
        total += to - from + 1;
        last = to;
    }
    Ok(total)
}

fn success_policy(spec: Field<'_>, errors: &mut ErrorList) {
    let policy = spec.get("successPolicy");
    if !policy.is_set() {
        return;
    }
    if spec.get("completionMode").str() != "Indexed" {
        let value = policy.value().cloned().unwrap_or_default();
        errors.push(policy.invalid_as(value, "requires indexed completion mode"));
        return;
    }
    let rules = policy.get("rules");
    if rules.is_empty() {
        let text = "at least one rules must be specified when the successPolicy is specified";
        errors.push(rules.required(text));
    } else if rules.len() > 20 {
        errors.push(rules.too_many(20));
    }
    let completions = spec.get("completions").int().unwrap_or_default();
    for rule in rules.items() {
        let (indexes, count) = (rule.get("succeededIndexes"), rule.get("succeededCount"));
        if !indexes.is_set() && !count.is_set() {
            let text = "at least one of succeededCount or succeededIndexes must be specified";
            errors.push(rule.required(text));
        }
        let mut total = completions;
        if indexes.is_set() {
            if indexes.str().len() > 65_536 {
                errors.push(indexes.too_long(65_536));
            }
            match intervals(indexes.str(), completions) {
                Ok(found) => total = found,
                Err(why) => {
                    errors.push(indexes.invalid(format!("error parsing succeededIndexes: {why}")))
                }
            }
        }
        if let Some(value) = count.int() {
            if value < 1 {
                errors.push(count.invalid("must be greater than 0"));
            } else if value > completions {
                let text = format!(
                    "must be less than or equal to {completions} (the number of specified completions)"
                );
                errors.push(count.invalid(text));
            } else if indexes.is_set() && value > total {
                let text = format!(
                    "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
                );
                errors.push(count.invalid(text));
            }
        }
    }
}

/// What is wrong with a change.
pub(super) fn change(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    completions(spec, before, errors);
    immutable(spec.get("selector"), before.get("selector"), errors);
    template_change(new, old, errors);
    for field in
        ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        immutable(Field::get(spec, field), Field::get(before, field), errors);
    }
}

/// An indexed job may grow or shrink: completions and parallelism together.
fn completions(spec: Field<'_>, before: Field<'_>, errors: &mut ErrorList) {
    let (now, was) = (spec.get("completions"), before.get("completions"));
    if same(now.value(), was.value()) {
        return;
    }
    let elastic = spec.get("completionMode").str() == "Indexed" && now.is_set() && was.is_set();
    if !elastic {
        immutable(now, was, errors);
        return;
    }
    let (parallelism, parallelism_was) = (spec.get("parallelism"), before.get("parallelism"));
    if same(parallelism.value(), parallelism_was.value()) || now.int() != parallelism.int() {
        let text = "can only be modified in tandem with spec.parallelism";
        errors.push(now.invalid(text));
    }
}

/// While a job is suspended and has not started, where its pods run may be changed.
fn template_change(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let path = ["spec", "template"];
    let (now, was) = (new.at(&path), old.at(&path));
    let (Some(now_value), Some(was_value)) = (now.value(), was.value()) else { return };
    let suspended = old.at(&["spec", "suspend"]).bool();
    let started = old.at(&["status", "startTime"]).is_set();
    if !suspended || started {
        immutable(now, was, errors);
        return;
    }
    let (mut a, mut b) = (now_value.clone(), was_value.clone());
    for value in [&mut a, &mut b] {
        for path in [
            &["metadata", "labels"][..],
            &["metadata", "annotations"],
            &["spec", "affinity", "nodeAffinity"],
            &["spec", "nodeSelector"],
            &["spec", "tolerations"],
            &["spec", "schedulingGates"],
        ] {
            remove(value, path);
        }
    }
    if !same(Some(&a), Some(&b)) {
        errors.push(FieldError::invalid(now.path(), now_value.clone(), check::IMMUTABLE));
    }
}

/// What is wrong with a status.
pub(super) fn status(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let (status, before) = (new.get("status"), old.get("status"));
    let counts = ["active", "succeeded", "failed", "ready", "terminating"];
    non_negatives(status, &counts, errors);
    let is = |status: Field<'_>, kind: &str| {
        status
            .get("conditions")
            .items()
            .any(|one| one.get("type").str() == kind && one.get("status").str() == "True")
    };
    let (complete, failed) = (is(status, "Complete"), is(status, "Failed"));
    let conditions = status.get("conditions");
    let shown = || conditions.value().cloned().unwrap_or_default();
    if complete && failed {
        errors.push(
            conditions.invalid_as(shown(), "cannot set Complete=True and Failed=True conditions"),
        );
    }
    for kind in ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"] {
        if is(before, kind) && !is(status, kind) {
            let text = format!("cannot disable the terminal {kind}=True condition");
            errors.push(conditions.invalid_as(shown(), text));
        }
    }
    let time = status.get("completionTime");
    if time.is_set() && !complete {
        let text = "cannot set completionTime when there is no Complete=True condition";
        errors.push(time.invalid(text));
    }
    if complete && !time.is_set() {
        errors.push(time.required("completionTime is required for Complete jobs"));
    }
    if complete || failed {
        for field in ["active", "terminating"] {
            let field = Field::get(status, field);
            if field.int().is_some_and(|value| value > 0) {
                errors.push(
                    field.invalid(format!("{}>0 is invalid for finished job", field_name(field))),
                );
            }
        }
    }
    for field in ["failed", "succeeded"] {
        let (now, was) = (Field::get(status, field), Field::get(before, field));
        let number = |field: Field<'_>| field.int().unwrap_or_default();
        let elastic =
            field == "succeeded" && new.at(&["spec", "completionMode"]).str() == "Indexed";
        if number(now) < number(was) && !elastic {
            errors
                .push(now.invalid_as(number(now), format!("cannot decrease the {field} counter")));
        }
    }
    let start = status.get("startTime");
    if before.get("startTime").is_set() && !new.at(&["spec", "suspend"]).bool() {
        if !start.is_set() {
            errors.push(start.required("startTime cannot be removed for unsuspended job"));
        } else if start.str() != before.get("startTime").str()
            && !old.at(&["spec", "suspend"]).bool()
        {
            errors.push(start.required("startTime cannot be modified for unsuspended job"));
        }
    }
    let completions = new.at(&["spec", "completions"]).int().unwrap_or(i64::MAX);
    for field in ["completedIndexes", "failedIndexes"] {
        let field = Field::get(status, field);
        if !field.is_empty()
            && let Err(why) = intervals(field.str(), completions)
        {
            errors.push(field.invalid(format!("error parsing {}: {why}", field_name(field))));
        }
    }
}

fn field_name(field: Field<'_>) -> String {
    let path = field.path().to_string();
    path.rsplit('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_texts() {
        assert_eq!(intervals("0,2-4", 5), Ok(4));
        assert_eq!(intervals("", 5), Ok(0));
        assert!(intervals("3,1", 5).is_err());
        assert!(intervals("1-9", 5).is_err());
        assert!(intervals("a", 5).is_err());
    }
}
