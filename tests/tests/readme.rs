//! What the README shows works: its plan is a plan.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use tbi_bench::plan::{PlanFile, PlanFormat, Profile};
use tbi_tests::repository::root;

#[test]
fn the_example_plan_is_a_plan() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let plan = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let plan = PlanFile::parse(plan, PlanFormat::Toml).unwrap().resolve(Profile::Short).unwrap();
    assert_eq!((plan.pairs, plan.thresholds.len()), (8, 2));
}
