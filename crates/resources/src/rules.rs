//! What is particular to a kind: the trait that a kind's file implements.
//!
//! Every method has the answer of a plain kind; a file says only where its kind differs. What is
//! common (who may write `status`, how `generation` grows, which fields are kept) is done by
//! [`Kind`](crate::kind::Kind) around these.

use std::borrow::Cow;

use api::Value;
use api::field::ErrorList;
use api::status::ApiResult;
use apiserver::resource::{Deletion, Row, WriteContext};
use base::clock::Timestamp;

use crate::cursor::Field;
use crate::table;

/// A kind's own rules. Objects are in the storage version's form.
pub trait Rules: Send + Sync + 'static {
    /// Fills in what the caller left out. Must do nothing the second time.
    fn default(&self, _object: &mut Value) {}

    /// After `status` was cleared, before `generation` is set to 1.
    fn prepare_create(&self, _ctx: &WriteContext<'_>, _object: &mut Value) {}

    /// On the object itself, after `status` was taken from the stored object.
    fn prepare_update(&self, _ctx: &WriteContext<'_>, _object: &mut Value, _old: &Value) {}

    /// On `status`, after all but `metadata` and `status` was taken from the stored object.
    fn prepare_status(&self, _ctx: &WriteContext<'_>, _object: &mut Value, _old: &Value) {}

    /// On any other view; `object` is what the caller sent.
    fn prepare_view(&self, _ctx: &WriteContext<'_>, _view: &str, _new: &mut Value, _old: &Value) {}

    /// What is wrong with an object, new or changed.
    fn validate(&self, _object: Field<'_>, _errors: &mut ErrorList) {}

    /// What else is wrong with a new object.
    fn validate_create(&self, _ctx: &WriteContext<'_>, _new: Field<'_>, _errors: &mut ErrorList) {}

    /// Whether [`Rules::validate`] is asked about changed objects too. A kind that tolerates in a
    /// change what was stored before (ratcheting) says no and does it in
    /// [`Rules::validate_change`].
    fn revalidates(&self) -> bool {
        true
    }

    /// What is wrong with a change of the object itself.
    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        _new: Field<'_>,
        _old: Field<'_>,
        _errors: &mut ErrorList,
    ) {
    }

    /// What is wrong with a change of `status`.
    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        _new: Field<'_>,
        _old: Field<'_>,
        _errors: &mut ErrorList,
    ) {
    }

    /// What is wrong with a change through another view.
    fn validate_view(
        &self,
        _ctx: &WriteContext<'_>,
        _view: &str,
        _new: Field<'_>,
        _old: Field<'_>,
        _errors: &mut ErrorList,
    ) {
    }

    /// Warnings for a writer.
    fn warnings(&self, _new: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// The cells of the table. The generic table: name and creation time.
    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::created_at(object)]
    }

    /// The row of the table; [`Rules::cells`] without conditions.
    fn row(&self, object: &Value, now: Timestamp) -> Row {
        Row { cells: self.cells(object, now), conditions: Vec::new() }
    }

    /// The value of a selectable field; `None` for the value at that path of the object.
    fn field<'a>(&self, _object: &'a Value, _name: &str) -> Option<Cow<'a, str>> {
        None
    }

    /// Another version's form of an object; `apiVersion` is set already.
    ///
    /// # Errors
    /// 400 when the object cannot be said in that version.
    fn convert(&self, object: Value, _from: &str, _to: &str) -> ApiResult<Value> {
        Ok(object)
    }

    /// How an object is deleted.
    fn prepare_deletion(
        &self,
        _ctx: &WriteContext<'_>,
        _object: &mut Value,
        _grace: Option<i64>,
    ) -> Deletion {
        Deletion::Immediate
    }
}
