//! Who may do what: each method of each route for each role, as the table in `docs/operations.md`
//! says, which is generated. `MAGNUM_BLESS=1` writes that again.
//!
//! Not here: what is of which project (`keystone`).

use std::path::Path;
use std::{env, fs};

use magnum::http::policy_document;

const BEGIN: &str = "<!-- rights: generated, see tests/it/rights.rs -->\n";
const END: &str = "<!-- /rights -->\n";

#[test]
fn the_table_in_the_documentation_is_what_requests_are_checked_with() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let wanted = policy_document();
    if env::var_os("MAGNUM_BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(table, wanted, "run this test with MAGNUM_BLESS=1 and look at the difference");
}
