//! Lets hyper begin its own tasks on the pool, in the name of whose connection it is.

use std::sync::Arc;

use bramble_master_core::turns::Identity;

use crate::pool::Pool;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Spawner {
    pub(super) pool: Arc<Pool>,
    pub(super) identity: Identity,
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
{
    fn execute(&self, work: F) {
        self.pool.spawn(self.identity.clone(), async move {
            work.await;
        });
    }
}
