//! Pods against the rows of the validation rules.
