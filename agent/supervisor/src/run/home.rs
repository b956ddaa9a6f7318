//! What the desk of runs needs of where they are measured: an appliance's units ([`super::appliance`]), or a lab that has a dashboard
//! ([`crate::lab_bench`]).

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tbi_bench::plan::Plan;
use tbi_bench::topology::Topology;

use super::appliance::Appliance;
use super::environment::Life;
use super::place::{PlaceError, Up};

/// Where runs are measured, one at a time.
pub(crate) trait Home: Send + Sync + 'static {
    /// For records and sentences.
    fn life(&self) -> Life;

    /// Ranges of the bench.
    fn topology(&self) -> &Topology;

    /// Brings everything up for a plan and waits until it is ready.
    fn up<'a>(&'a self, plan: &'a Plan) -> BoxFuture<'a, Result<Up, PlaceError>>;

    /// The run is over.
    fn idle(&self);
}

impl Home for Appliance {
    fn life(&self) -> Life {
        self.life()
    }

    fn topology(&self) -> &Topology {
        self.topology()
    }

    fn up<'a>(&'a self, plan: &'a Plan) -> BoxFuture<'a, Result<Up, PlaceError>> {
        self.up(plan).boxed()
    }

    fn idle(&self) {
        self.idle();
    }
}
