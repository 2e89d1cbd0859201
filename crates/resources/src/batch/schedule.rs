//! The syntax of a cron schedule, as `robfig/cron`'s standard parser reads it.

/// What is wrong with a schedule; `None` when it is right.
pub(super) fn problem(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return Some("empty spec string".to_owned());
    }
    if let Some(descriptor) = text.strip_prefix('@') {
        return descriptor_problem(descriptor);
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!("expected exactly 5 fields, found {}: {fields:?}", fields.len()));
    }
    let bounds: [(u32, u32, &[&str]); 5] = [
        (0, 59, &[]),
        (0, 23, &[]),
        (1, 31, &[]),
        (
            1,
            12,
            &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        ),
        (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
    ];
    fields
        .iter()
        .zip(bounds)
        .find_map(|(field, bounds)| field.split(',').find_map(|part| range_problem(part, bounds)))
}

fn descriptor_problem(descriptor: &str) -> Option<String> {
    let known = matches!(
        descriptor,
        "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly"
    );
    let every = descriptor.strip_prefix("every ").is_some_and(is_duration);
    (!known && !every).then(|| format!("unrecognized descriptor: @{descriptor}"))
}

/// A Go duration: numbers with units.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits =
            rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let tail = &rest[digits..];
        let unit = ["ns", "us", "µs", "ms", "s", "m", "h"]
            .into_iter()
            .filter(|unit| tail.starts_with(unit))
            .max_by_key(|unit| unit.len());
        match unit {
            Some(unit) if digits > 0 => rest = &tail[unit.len()..],
            _ => return false,
        }
    }
    true
}

fn range_problem(part: &str, (low, high, names): (u32, u32, &[&str])) -> Option<String> {
    let number = |text: &str| -> Result<u32, String> {
        let lower = text.to_lowercase();
        if let Some(index) = names.iter().position(|name| *name == lower) {
            return Ok(u32::try_from(index).unwrap_or_default() + low);
        }
        text.parse().map_err(|_| {
            format!(
                "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
            )
        })
    };
    let mut pieces = part.split('/');
    let (range, step) = (pieces.next().unwrap_or_default(), pieces.next());
    if pieces.next().is_some() {
        return Some(format!("too many slashes: {part}"));
    }
    let mut ends = range.split('-');
    let (start, end) = (ends.next().unwrap_or_default(), ends.next());
    if ends.next().is_some() {
        return Some(format!("too many hyphens: {part}"));
    }
    let parsed = (|| -> Result<(u32, u32), String> {
        let (start, end) = match (start, end) {
            ("*" | "?", None) => (low, high),
            (start, None) => {
                let start = number(start)?;
                (start, if step.is_some() { high } else { start })
            }
            (start, Some(end)) => (number(start)?, number(end)?),
        };
        if let Some(step) = step
            && number(step)? == 0
        {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        Ok((start, end))
    })();
    match parsed {
        Err(why) => Some(why),
        Ok((start, _)) if start < low => {
            Some(format!("beginning of range ({start}) below minimum ({low}): {part}"))
        }
        Ok((_, end)) if end > high => {
            Some(format!("end of range ({end}) above maximum ({high}): {part}"))
        }
        Ok((start, end)) if start > end => {
            Some(format!("beginning of range ({start}) beyond end of range ({end}): {part}"))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad() {
        for good in
            ["* * * * *", "*/5 0-6 1,15 jan-mar mon", "@hourly", "@every 1h30m", "0 0 ? * 0"]
        {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "a * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "@often",
            "@every x",
        ] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
