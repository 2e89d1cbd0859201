//! Content negotiation: what the client accepts, and what it gets. Pure.

use api::status::{ApiError, ApiResult};

/// JSON.
pub(crate) const JSON: &str = "application/json";
/// YAML.
pub(crate) const YAML: &str = "application/yaml";
/// Kubernetes' protobuf envelope.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// What answers can be.
pub(crate) const ANSWERS: [&str; 3] = [JSON, YAML, PROTOBUF];

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Format {
    /// `application/json`.
    #[default]
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What an answer shows of the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Shape {
    /// Everything.
    #[default]
    Whole,
    /// Their metadata, in this version of `meta.k8s.io`.
    Partial(MetaVersion),
    /// A row each.
    Table(MetaVersion, Include),
}

/// The versions of `meta.k8s.io` that tables and metadata come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum MetaVersion {
    /// `v1`.
    #[default]
    V1,
    /// `v1beta1`.
    V1Beta1,
}

/// What a table's rows carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Include {
    /// The metadata.
    #[default]
    Metadata,
    /// Nothing.
    None,
    /// The whole object.
    Object,
}

/// The answer that was agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) shape: Shape,
    pub(crate) is_pretty: bool,
    /// Metadata was asked for as that of a list.
    pub(crate) names_list: bool,
}

impl MetaVersion {
    /// `meta.k8s.io/v1`.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }
}

impl Format {
    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Yaml => YAML,
            Self::Protobuf => PROTOBUF,
        }
    }
}

impl Output {
    /// The `Content-Type` of a stream of events; JSON's does not say that it is one.
    pub(crate) fn stream_type(self) -> String {
        let media = self.format.media_type();
        match self.format {
            Format::Json => media.to_owned(),
            _ => format!("{media};stream=watch"),
        }
    }
}

/// One media range of an `Accept` header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MediaRange<'a> {
    pub(crate) media: String,
    pub(crate) params: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> MediaRange<'a> {
    /// A parameter's value.
    pub(crate) fn param(&self, key: &str) -> Option<&'a str> {
        self.params
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(key))
            .map(|(_, value)| *value)
    }
}

/// The ranges of an `Accept` header, the most wanted first.
pub(crate) fn parse_accept(header: &str) -> Vec<MediaRange<'_>> {
    let mut ranges: Vec<MediaRange<'_>> = header
        .split(',')
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .map(|range| {
            let mut pieces = range.split(';').map(str::trim);
            let media = pieces.next().unwrap_or_default().to_ascii_lowercase();
            let mut quality = 1.0;
            let mut params = Vec::new();
            for piece in pieces {
                let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
                let value = value.trim_matches('"');
                if key == "q" {
                    quality = value.parse().unwrap_or(1.0);
                } else {
                    params.push((key, value));
                }
            }
            MediaRange { media, params, quality }
        })
        .collect();
    ranges.sort_by(|left, right| right.quality.total_cmp(&left.quality));
    ranges
}

/// What may be agreed upon for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Tables and metadata can be had.
    pub(crate) shapes: bool,
    /// Protobuf can be had.
    pub(crate) protobuf: bool,
    /// The answer is a stream of events.
    pub(crate) watch: bool,
}

/// Agrees on an answer.
pub(crate) fn negotiate(accept: &str, include: &str, offer: Offer) -> ApiResult<Output> {
    let accept = accept.trim();
    if accept.is_empty() {
        return Ok(Output::default());
    }
    for range in parse_accept(accept) {
        let format = match &*range.media {
            "*/*" | "application/*" | JSON => Format::Json,
            YAML if !offer.watch => Format::Yaml,
            // Tables and metadata can be said of kinds that cannot.
            PROTOBUF if offer.protobuf || range.param("as").is_some() => Format::Protobuf,
            _ => continue,
        };
        if range.param("stream").is_some_and(|stream| stream != "watch") {
            continue;
        }
        let shape = match range.param("as") {
            None => Shape::Whole,
            Some(name) => match shape(name, &range, include, offer)? {
                Some(shape) => shape,
                None => continue,
            },
        };
        if format == Format::Protobuf && !has_protobuf(shape) {
            continue;
        }
        let names_list = range.param("as") == Some("PartialObjectMetadataList");
        return Ok(Output { format, shape, names_list, is_pretty: false });
    }
    Err(not_acceptable(offer))
}

/// What upstream's routes ask before anybody else does: whether the client takes one of the media
/// types that they list, by its name or as `*/*`.
///
/// # Errors
/// 406 in the routes' own words.
pub(crate) fn check_routed(accept: &str, is_list: bool) -> ApiResult<()> {
    const STREAMS: [&str; 2] =
        ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
    let accept = accept.trim();
    let mut medias = accept.split(',').map(|range| range.split(';').next().unwrap_or_default());
    if accept.is_empty()
        || medias.any(|media| media.trim() == "*/*" || ANSWERS.contains(&media.trim()))
    {
        return Ok(());
    }
    let mut types = ANSWERS.to_vec();
    if is_list {
        types.extend(STREAMS);
    }
    let text = format!("406: Not Acceptable\n\nAvailable representations: {}", types.join(", "));
    Err(ApiError::new(406, "NotAcceptable", text).about_nothing())
}

/// Whether a shape can be said in protobuf.
fn has_protobuf(shape: Shape) -> bool {
    match shape {
        Shape::Whole => true,
        Shape::Partial(version) => {
            api::proto::is_supported(version.api_version(), "PartialObjectMetadata")
        }
        Shape::Table(version, _) => api::proto::is_supported(version.api_version(), "Table"),
    }
}

/// 406, with what could have been had.
pub(crate) fn not_acceptable(offer: Offer) -> ApiError {
    let types: &[&str] = match (offer.watch, offer.protobuf) {
        (true, true) => {
            &["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"]
        }
        (true, false) => &["application/json;stream=watch"],
        (false, _) => &ANSWERS,
    };
    ApiError::not_acceptable(types)
}

fn shape(
    name: &str,
    range: &MediaRange<'_>,
    include: &str,
    offer: Offer,
) -> ApiResult<Option<Shape>> {
    let version = range.param("v").and_then(MetaVersion::parse);
    let (Some(version), Some("meta.k8s.io"), true) = (version, range.param("g"), offer.shapes)
    else {
        return Ok(None);
    };
    Ok(match name {
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Shape::Partial(version)),
        "Table" => {
            let include = match include {
                "" | "Metadata" => Include::Metadata,
                "None" => Include::None,
                "Object" => Include::Object,
                other => {
                    return Err(ApiError::bad_request(format!(
                        "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
                    )));
                }
            };
            Some(Shape::Table(version, include))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offer = Offer { shapes: true, protobuf: false, watch: false };

    fn check(accept: &str, expected: Option<(Format, Shape)>) {
        let got = negotiate(accept, "", ALL).ok().map(|output| (output.format, output.shape));
        assert_eq!(got, expected, "{accept}");
    }

    #[test]
    fn the_first_that_can_be_made_wins() {
        let table = Shape::Table(MetaVersion::V1, Include::Metadata);
        check("", Some((Format::Json, Shape::Whole)));
        check("*/*", Some((Format::Json, Shape::Whole)));
        check("application/yaml", Some((Format::Yaml, Shape::Whole)));
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Some((Format::Json, table)),
        );
        check(
            "application/vnd.kubernetes.protobuf, application/json",
            Some((Format::Json, Shape::Whole)),
        );
        check("application/json;q=0.5, application/yaml;q=0.9", Some((Format::Yaml, Shape::Whole)));
        check("application/json;as=Table;v=v7;g=meta.k8s.io", None);
        check("text/html", None);
    }

    #[test]
    fn routes_take_media_types_by_name() {
        for good in ["", "*/*", "text/html, */*;q=0.8", "application/json;as=Table"] {
            assert!(check_routed(good, false).is_ok(), "{good}");
        }
        let refused = check_routed("application/*", true).unwrap_err();
        assert!(refused.to_string().starts_with("406: Not Acceptable\n\nAvailable"), "{refused}");
        assert!(refused.status().details.is_some());
    }

    #[test]
    fn nothing_but_objects_where_there_are_no_tables() {
        let offer = Offer { shapes: false, ..ALL };
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(negotiate(accept, "", offer).unwrap_err().code(), 406);
    }
}
