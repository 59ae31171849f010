//! What goes: packs as a whole, oldest first, when no kept event names anything in them, or when there is no room.

use super::pack::{index_name, pack_name};
use super::store::Content;
use crate::event::Seq;

impl Content {
    /// Removes the packs that only events before `oldest` name; then, while all have more than `bytes_max` bytes, the
    /// oldest ones. The newest pack stays, and whatever is pinned. Gives the number of packs removed. After a failure
    /// it also sees whether contents can be kept again.
    pub fn retain(&self, oldest: Seq, bytes_max: u64) -> u64 {
        let _one = self.shared.syncing.lock();
        let mut removed = 0;
        for pack in self.shared.packs.all() {
            let unnamed = pack.named() < oldest;
            if (unnamed || self.bytes() > bytes_max) && self.shared.packs.take(pack.id) {
                self.remove(pack.id);
                removed += 1;
            }
        }
        self.shared.try_again();
        removed
    }

    fn remove(&self, id: u32) {
        self.shared.active.lock().sealed.retain(|s| s.pack.id != id);
        self.shared.table.forget(|place| place.pack == id);
        // A pack that comes back at the next start is named by no event and goes again.
        for name in [pack_name(id), index_name(id)] {
            match self.shared.storage.remove(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    log::warn!("content: {name} cannot be removed: {error}");
                }
                _ => {}
            }
        }
    }
}
