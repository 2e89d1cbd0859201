//! What functions there are: names, overloads, types. One table, read once.
//!
//! A line is `function overload(types) result`, or `function overload target.(types) result` for a
//! method. The names of overloads are upstream's: costs go by them. To add a function: a line here
//! and its deed in `library::implementation`; a test checks that none is without the other.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::syntax::ast::ops;
use crate::types::{self, Type};

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) id: Arc<str>,
    /// Whether the first argument stands in front.
    pub(crate) member: bool,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    /// Whether types have parameters to be filled in.
    pub(crate) generic: bool,
}

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: Arc<str>,
    pub(crate) overloads: Vec<Overload>,
}

/// The language's own operators and functions.
const CORE: &str = "
_?_:_ conditional(bool, A, A) A
_&&_ logical_and(bool, bool) bool
_||_ logical_or(bool, bool) bool
!_ logical_not(bool) bool
@not_strictly_false not_strictly_false(bool) bool
_==_ equals(A, A) bool
_!=_ not_equals(A, A) bool
_+_ add_bytes(bytes, bytes) bytes
_+_ add_double(double, double) double
_+_ add_duration_duration(duration, duration) duration
_+_ add_duration_timestamp(duration, timestamp) timestamp
_+_ add_timestamp_duration(timestamp, duration) timestamp
_+_ add_int64(int, int) int
_+_ add_list(list(A), list(A)) list(A)
_+_ add_string(string, string) string
_+_ add_uint64(uint, uint) uint
_/_ divide_double(double, double) double
_/_ divide_int64(int, int) int
_/_ divide_uint64(uint, uint) uint
_%_ modulo_int64(int, int) int
_%_ modulo_uint64(uint, uint) uint
_*_ multiply_double(double, double) double
_*_ multiply_int64(int, int) int
_*_ multiply_uint64(uint, uint) uint
-_ negate_double(double) double
-_ negate_int64(int) int
_-_ subtract_double(double, double) double
_-_ subtract_duration_duration(duration, duration) duration
_-_ subtract_int64(int, int) int
_-_ subtract_timestamp_duration(timestamp, duration) timestamp
_-_ subtract_timestamp_timestamp(timestamp, timestamp) duration
_-_ subtract_uint64(uint, uint) uint
_[_] index_list(list(A), int) A
_[_] index_map(map(A, B), A) B
_[_] optional_list_index_int(optional(list(V)), int) optional(V)
_[_] optional_map_index_value(optional(map(K, V)), K) optional(V)
_[?_] list_optindex_optional_int(list(V), int) optional(V)
_[?_] optional_list_optindex_optional_int(optional(list(V)), int) optional(V)
_[?_] map_optindex_optional_value(map(K, V), K) optional(V)
_[?_] optional_map_optindex_optional_value(optional(map(K, V)), K) optional(V)
_?._ select_optional_field(dyn, string) optional(V)
@in in_list(A, list(A)) bool
@in in_map(A, map(A, B)) bool
size size_bytes(bytes) int
size bytes_size bytes.() int
size size_list(list(A)) int
size list_size list(A).() int
size size_map(map(A, B)) int
size map_size map(A, B).() int
size size_string(string) int
size string_size string.() int
type type(A) type(A)
bool bool_to_bool(bool) bool
bool string_to_bool(string) bool
bytes bytes_to_bytes(bytes) bytes
bytes string_to_bytes(string) bytes
double double_to_double(double) double
double int64_to_double(int) double
double string_to_double(string) double
double uint64_to_double(uint) double
duration duration_to_duration(duration) duration
duration string_to_duration(string) duration
dyn to_dyn(A) dyn
int int64_to_int64(int) int
int double_to_int64(double) int
int duration_to_int64(duration) int
int string_to_int64(string) int
int timestamp_to_int64(timestamp) int
int uint64_to_int64(uint) int
string string_to_string(string) string
string bool_to_string(bool) string
string bytes_to_string(bytes) string
string double_to_string(double) string
string duration_to_string(duration) string
string int64_to_string(int) string
string timestamp_to_string(timestamp) string
string uint64_to_string(uint) string
timestamp timestamp_to_timestamp(timestamp) timestamp
timestamp int64_to_timestamp(int) timestamp
timestamp string_to_timestamp(string) timestamp
uint uint64_to_uint64(uint) uint
uint double_to_uint64(double) uint
uint int64_to_uint64(int) uint
uint string_to_uint64(string) uint
contains contains_string string.(string) bool
endsWith ends_with_string string.(string) bool
startsWith starts_with_string string.(string) bool
matches matches(string, string) bool
matches matches_string string.(string) bool
getFullYear timestamp_to_year timestamp.() int
getFullYear timestamp_to_year_with_tz timestamp.(string) int
getMonth timestamp_to_month timestamp.() int
getMonth timestamp_to_month_with_tz timestamp.(string) int
getDayOfYear timestamp_to_day_of_year timestamp.() int
getDayOfYear timestamp_to_day_of_year_with_tz timestamp.(string) int
getDayOfMonth timestamp_to_day_of_month timestamp.() int
getDayOfMonth timestamp_to_day_of_month_with_tz timestamp.(string) int
getDate timestamp_to_day_of_month_1_based timestamp.() int
getDate timestamp_to_day_of_month_1_based_with_tz timestamp.(string) int
getDayOfWeek timestamp_to_day_of_week timestamp.() int
getDayOfWeek timestamp_to_day_of_week_with_tz timestamp.(string) int
getHours timestamp_to_hours timestamp.() int
getHours timestamp_to_hours_with_tz timestamp.(string) int
getHours duration_to_hours duration.() int
getMinutes timestamp_to_minutes timestamp.() int
getMinutes timestamp_to_minutes_with_tz timestamp.(string) int
getMinutes duration_to_minutes duration.() int
getSeconds timestamp_to_seconds timestamp.() int
getSeconds timestamp_to_seconds_tz timestamp.(string) int
getSeconds duration_to_seconds duration.() int
getMilliseconds timestamp_to_milliseconds timestamp.() int
getMilliseconds timestamp_to_milliseconds_with_tz timestamp.(string) int
getMilliseconds duration_to_milliseconds duration.() int
optional.of optional_of(V) optional(V)
optional.ofNonZeroValue optional_ofNonZeroValue(V) optional(V)
optional.none optional_none() optional(V)
optional.unwrap optional_unwrap(list(optional(V))) list(V)
unwrapOpt optional_unwrapOpt list(optional(V)).() list(V)
value optional_value optional(V).() V
hasValue optional_hasValue optional(V).() bool
or optional_or_optional optional(V).(optional(V)) optional(V)
orValue optional_orValue_value optional(V).(V) V
first list_first list(V).() optional(V)
last list_last list(V).() optional(V)
";

/// cel-go's extensions: strings version 2, lists version 3, sets, comprehensions of two variables.
const EXTENSIONS: &str = "
charAt string_char_at_int string.(int) string
indexOf string_index_of_string string.(string) int
indexOf string_index_of_string_int string.(string, int) int
lastIndexOf string_last_index_of_string string.(string) int
lastIndexOf string_last_index_of_string_int string.(string, int) int
lowerAscii string_lower_ascii string.() string
upperAscii string_upper_ascii string.() string
replace string_replace_string_string string.(string, string) string
replace string_replace_string_string_int string.(string, string, int) string
split string_split_string string.(string) list(string)
split string_split_string_int string.(string, int) list(string)
substring string_substring_int string.(int) string
substring string_substring_int_int string.(int, int) string
trim string_trim string.() string
format string_format string.(list(dyn)) string
strings.quote strings_quote(string) string
join list_join list(string).() string
join list_join_string list(string).(string) string
slice list_slice list(T).(int, int) list(T)
flatten list_flatten list(list(T)).() list(T)
flatten list_flatten_int list(dyn).(int) list(dyn)
lists.range lists_range(int) list(int)
reverse list_reverse list(T).() list(T)
distinct list_distinct list(T).() list(T)
sets.contains list_sets_contains_list(list(T), list(T)) bool
sets.equivalent list_sets_equivalent_list(list(T), list(T)) bool
sets.intersects list_sets_intersects_list(list(T), list(T)) bool
cel.@mapInsert @mapInsert_map_key_value(map(K, V), K, V) map(K, V)
cel.@mapInsert @mapInsert_map_map(map(K, V), map(K, V)) map(K, V)
";

/// Kubernetes' own libraries.
const KUBERNETES: &str = "
indexOf list_a_index_of_int list(A).(A) int
lastIndexOf list_a_last_index_of_int list(A).(A) int
find string_find_string string.(string) string
findAll string_find_all_string string.(string) list(string)
findAll string_find_all_string_int string.(string, int) list(string)
url string_to_url(string) kubernetes.URL
isURL is_url_string(string) bool
getScheme url_get_scheme kubernetes.URL.() string
getHost url_get_host kubernetes.URL.() string
getHostname url_get_hostname kubernetes.URL.() string
getPort url_get_port kubernetes.URL.() string
getEscapedPath url_get_escaped_path kubernetes.URL.() string
getQuery url_get_query kubernetes.URL.() map(string, list(string))
ip string_to_ip(string) net.IP
ip cidr_ip net.CIDR.() net.IP
ip.isCanonical ip_is_canonical(string) bool
isIP is_ip(string) bool
family ip_family net.IP.() int
isUnspecified ip_is_unspecified net.IP.() bool
isLoopback ip_is_loopback net.IP.() bool
isLinkLocalMulticast ip_is_link_local_multicast net.IP.() bool
isLinkLocalUnicast ip_is_link_local_unicast net.IP.() bool
isGlobalUnicast ip_is_global_unicast net.IP.() bool
string ip_to_string(net.IP) string
string cidr_to_string(net.CIDR) string
cidr string_to_cidr(string) net.CIDR
isCIDR is_cidr(string) bool
containsIP cidr_contains_ip_string net.CIDR.(string) bool
containsIP cidr_contains_ip_ip net.CIDR.(net.IP) bool
containsCIDR cidr_contains_cidr_string net.CIDR.(string) bool
containsCIDR cidr_contains_cidr net.CIDR.(net.CIDR) bool
prefixLength cidr_prefix_length net.CIDR.() int
masked cidr_masked net.CIDR.() net.CIDR
quantity string_to_quantity(string) kubernetes.Quantity
isQuantity is_quantity_string(string) bool
sign quantity_sign(kubernetes.Quantity) int
isGreaterThan quantity_is_greater_than kubernetes.Quantity.(kubernetes.Quantity) bool
isLessThan quantity_is_less_than kubernetes.Quantity.(kubernetes.Quantity) bool
compareTo quantity_compare_to kubernetes.Quantity.(kubernetes.Quantity) int
asApproximateFloat quantity_get_float kubernetes.Quantity.() double
asInteger quantity_get_int kubernetes.Quantity.() int
isInteger quantity_is_integer kubernetes.Quantity.() bool
add quantity_add kubernetes.Quantity.(kubernetes.Quantity) kubernetes.Quantity
add quantity_add_int kubernetes.Quantity.(int) kubernetes.Quantity
sub quantity_sub kubernetes.Quantity.(kubernetes.Quantity) kubernetes.Quantity
sub quantity_sub_int kubernetes.Quantity.(int) kubernetes.Quantity
semver string_to_semver(string) kubernetes.Semver
semver string_bool_to_semver(string, bool) kubernetes.Semver
isSemver is_semver_string(string) bool
isSemver is_semver_string_bool(string, bool) bool
isGreaterThan semver_is_greater_than kubernetes.Semver.(kubernetes.Semver) bool
isLessThan semver_is_less_than kubernetes.Semver.(kubernetes.Semver) bool
compareTo semver_compare_to kubernetes.Semver.(kubernetes.Semver) int
major semver_major kubernetes.Semver.() int
minor semver_minor kubernetes.Semver.() int
patch semver_patch kubernetes.Semver.() int
format.named format-named(string) optional(kubernetes.NamedFormat)
validate format-validate kubernetes.NamedFormat.(string) optional(list(string))
jsonpatch.escapeKey string_jsonpatch_escapeKey_string(string) string
path authorizer_path kubernetes.authorization.Authorizer.(string) kubernetes.authorization.PathCheck
group authorizer_group kubernetes.authorization.Authorizer.(string) kubernetes.authorization.GroupCheck
serviceAccount authorizer_serviceaccount kubernetes.authorization.Authorizer.(string, string) kubernetes.authorization.Authorizer
resource groupcheck_resource kubernetes.authorization.GroupCheck.(string) kubernetes.authorization.ResourceCheck
subresource resourcecheck_subresource kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck
namespace resourcecheck_namespace kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck
name resourcecheck_name kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck
fieldSelector authorizer_fieldselector kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck
labelSelector authorizer_labelselector kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck
check pathcheck_check kubernetes.authorization.PathCheck.(string) kubernetes.authorization.Decision
check resourcecheck_check kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.Decision
errored decision_errored kubernetes.authorization.Decision.() bool
error decision_error kubernetes.authorization.Decision.() string
allowed decision_allowed kubernetes.authorization.Decision.() bool
reason decision_reason kubernetes.authorization.Decision.() string
";

/// The names under which formats are reached as `format.NAME()`.
pub(crate) const FORMATS: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

/// What can be ordered, with the names that overloads use.
const COMPARABLE: [&str; 8] =
    ["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"];

static FUNCTIONS: LazyLock<HashMap<Arc<str>, Function>> = LazyLock::new(|| {
    let mut functions = HashMap::new();
    let mut lines: Vec<String> = [CORE, EXTENSIONS, KUBERNETES]
        .iter()
        .flat_map(|text| text.lines())
        .map(str::to_owned)
        .collect();
    lines.extend(comparisons());
    lines.extend(over_lists());
    lines.extend(
        FORMATS.iter().map(|name| format!("format.{name} format.{name}() kubernetes.NamedFormat")),
    );
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let (name, overload) = declaration(line);
        functions
            .entry(Arc::clone(&name))
            .or_insert_with(|| Function { name, overloads: Vec::new() })
            .overloads
            .push(overload);
    }
    functions
});

/// The function of a name.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}

/// All functions.
#[cfg(test)]
pub(crate) fn functions() -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.values()
}

/// The overloads of `<`, `<=`, `>` and `>=`.
fn comparisons() -> Vec<String> {
    let mut lines = Vec::new();
    for (function, name) in [
        (ops::LESS, "less"),
        (ops::LESS_EQUALS, "less_equals"),
        (ops::GREATER, "greater"),
        (ops::GREATER_EQUALS, "greater_equals"),
    ] {
        let long = |name: &'static str| match name {
            "int" => "int64",
            "uint" => "uint64",
            other => other,
        };
        for one in ["bool", "string", "bytes", "timestamp", "duration"] {
            lines.push(format!("{function} {name}_{one}({one}, {one}) bool"));
        }
        for one in ["int", "uint", "double"] {
            for other in ["int", "uint", "double"] {
                let id = if one == other {
                    format!("{name}_{}", long(one))
                } else {
                    format!("{name}_{}_{}", long(one), long(other))
                };
                lines.push(format!("{function} {id}({one}, {other}) bool"));
            }
        }
    }
    lines
}

/// The overloads of what works on lists of things that can be ordered or summed.
fn over_lists() -> Vec<String> {
    let mut lines = Vec::new();
    for one in COMPARABLE {
        lines.push(format!("isSorted list_{one}_is_sorted_bool list({one}).() bool"));
        lines.push(format!("max list_{one}_max_{one} list({one}).() {one}"));
        lines.push(format!("min list_{one}_min_{one} list({one}).() {one}"));
        lines.push(format!("sort list_{one}_sort list({one}).() list({one})"));
        lines.push(format!(
            "@sortByAssociatedKeys list_{one}_sortByAssociatedKeys list(T).(list({one})) list(T)"
        ));
    }
    for one in ["int", "uint", "double", "duration"] {
        lines.push(format!("sum list_{one}_sum_{one} list({one}).() {one}"));
    }
    lines
}

fn declaration(line: &str) -> (Arc<str>, Overload) {
    let (name, rest) = line.split_once(' ').expect("a declaration names its function");
    // The result stands behind the bracket that closes the arguments.
    let (head, result) = outer_split(rest);
    let (target, open) = match head.find(".(") {
        Some(dot) => (Some(()), dot + 1),
        None => (None, head.find('(').expect("a declaration has arguments")),
    };
    let before = head[..open].trim_end_matches('.');
    let mut args = Vec::new();
    let id = match target {
        Some(()) => {
            let (id, target) = before.split_once(' ').expect("a method has a target");
            args.push(types::parse(target));
            id
        }
        None => before,
    };
    let inner = &head[open + 1..head.len() - 1];
    args.extend(types::split(inner).into_iter().map(types::parse));
    let result = types::parse(result);
    let generic = args.iter().chain([&result]).any(has_param);
    let overload = Overload { id: id.into(), member: target.is_some(), args, result, generic };
    (name.into(), overload)
}

/// Splits behind the last bracket that closes on the outermost level before the result.
fn outer_split(text: &str) -> (&str, &str) {
    let mut depth = 0;
    let mut end = 0;
    for (index, char) in text.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                // A result may have brackets too: the arguments end where a blank follows.
                if depth == 0 && text[index + 1..].starts_with(' ') {
                    end = index + 1;
                }
            }
            _ => {}
        }
    }
    (&text[..end], text[end..].trim())
}

fn has_param(of: &Type) -> bool {
    matches!(of, Type::Param(_)) || of.params().into_iter().any(has_param)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, id: &str, expected: &str) {
        let overload =
            function(name).unwrap().overloads.iter().find(|overload| &*overload.id == id).unwrap();
        let args: Vec<String> = overload.args.iter().map(Type::to_string).collect();
        let shown = format!("{} ({}) {}", overload.member, args.join(", "), overload.result);
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_table_is_read() {
        check("_?_:_", "conditional", "false (bool, A, A) A");
        check("size", "map_size", "true (map(A, B)) int");
        check("optional.none", "optional_none", "false () optional_type(V)");
        check("unwrapOpt", "optional_unwrapOpt", "true (list(optional_type(V))) list(V)");
        check("getQuery", "url_get_query", "true (kubernetes.URL) map(string, list(string))");
        check("_<_", "less_int64_uint64", "false (int, uint) bool");
        check("sum", "list_duration_sum_duration", "true (list(duration)) duration");
        check(
            "validate",
            "format-validate",
            "true (kubernetes.NamedFormat, string) optional_type(list(string))",
        );
    }
}
