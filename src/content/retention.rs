//! What goes: packs as a whole, oldest first, when no kept event names anything in them, or when there is no room.

use super::pack::{index_name, pack_name};
use super::store::Content;
use crate::event::Seq;

impl Content {
    /// Removes the packs that only events before `oldest` name; then, while all have more than `bytes_max` bytes, the
    /// oldest ones. The newest pack stays, and whatever is pinned. Gives the number of packs removed. After a failure
    /// it also sees whether contents can be kept again.
    pub fn retain(&self, oldest: Seq, bytes_max: u64) -> u64 {
        let saved = self.shared.syncing.lock();
        let (mut going, mut named) = (Vec::new(), 0);
        for pack in self.shared.packs.all() {
            let is_named = pack.named() >= oldest;
            if (!is_named || self.bytes() > bytes_max) && self.shared.packs.take(pack.id) {
                going.push(pack.id);
                named += usize::from(is_named);
            }
        }
        if named > 0 {
            log::warn!("content: {named} packs that events name go for lack of room");
            // From here on they are not missing: it is known that they went.
            if let Err(error) = self.shared.save_names(*saved) {
                log::warn!("content: what went is not noted: {error}");
            }
        }
        for id in &going {
            self.remove(*id);
        }
        self.shared.try_again();
        going.len() as u64
    }

    fn remove(&self, id: u32) {
        let mut active = self.shared.active.lock();
        active.sealed.retain(|sealed| sealed.pack.id != id);
        active.doubtful.retain(|left| left.pack.id != id);
        drop(active);
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
