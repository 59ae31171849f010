//! A mount from its first request to its last.

use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use fuser::SessionACL;

use super::adapter::Adapter;
use super::attach::{self, AttachError, Options};
use super::invalidate::Invalidator;
use super::io_mode::IoModes;
use super::jobs::Jobs;
use super::parking::Parking;
use super::workers::Seats;
use crate::vfs::Vfs;

/// A mount that is in its place and whose requests wait to be served.
pub struct Session {
    session: fuser::Session<Adapter>,
    vfs: Arc<Vfs>,
    mountpoint: PathBuf,
}

/// How a session ended.
pub type Served = io::Result<()>;

impl Session {
    /// Mounts `vfs`. With `over_dead`, a dead mount lies at the mount point and is replaced without ever opening what
    /// it covers.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn mount(
        vfs: Arc<Vfs>,
        options: &Options,
        passthrough: bool,
        over_dead: bool,
    ) -> Result<Session, AttachError> {
        let parking = Parking::start().map_err(AttachError::Device)?;
        let hook = Arc::clone(&parking);
        vfs.recorder()
            .log()
            .on_append(Box::new(move || hook.appended()));
        let seats = Arc::new(Seats::new());
        let threads = seats.count();
        let adapter = Adapter {
            vfs: Arc::clone(&vfs),
            jobs: Jobs::start().map_err(AttachError::Device)?,
            parking,
            modes: Arc::new(IoModes::default()),
            seats,
            passthrough,
        };
        let mut config = fuser::Config::default();
        config.n_threads = Some(threads);
        config.clone_fd = true;
        let device = attach::open_device()?;
        let failed = |source| AttachError::Kernel {
            what: "the first request",
            source,
        };
        let session = match attach::create(&device, options) {
            Ok(context) => {
                // The kernel checks who may come in (`allow_other`); fuser need not check again.
                let session = fuser::Session::from_fd(adapter, device, SessionACL::All, config)
                    .map_err(failed)?;
                attach::detached(&context, options)?.place(&options.mountpoint, over_dead)?;
                session
            }
            // An ordinary user mounts through the set-user-id helper of the fuse3 package.
            Err(AttachError::Kernel { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                drop(device);
                config.mount_options = attach::helper_options(options);
                config.acl = if options.allow_other {
                    SessionACL::All
                } else {
                    SessionACL::Owner
                };
                fuser::Session::new(adapter, &options.mountpoint, &config).map_err(failed)?
            }
            Err(error) => return Err(error),
        };
        Ok(Session {
            session,
            vfs,
            mountpoint: options.mountpoint.clone(),
        })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mountpoint(&self) -> &std::path::Path {
        &self.mountpoint
    }

    /// What tells this mount's kernel side of changes behind the mount.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn invalidator(&self) -> io::Result<Invalidator> {
        Invalidator::start(
            self.session.notifier(),
            self.session.as_fd(),
            Arc::clone(&self.vfs),
        )
    }

    /// Serves until it is unmounted.
    ///
    /// # Errors
    /// When the connection to the kernel breaks.
    pub fn run(self) -> Served {
        match self.session.run() {
            // The kernel's word for a connection that was ended while requests were under way, as a forced unmount
            // does: the mount is gone, which is what was wanted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
            ended => ended,
        }
    }

    /// Takes the mount off; with `busy_too` even while someone uses it, who then keeps what is open until the daemon
    /// ends.
    ///
    /// # Errors
    /// EBUSY when it is in use and `busy_too` is not given.
    pub fn take_off(mountpoint: &std::path::Path, busy_too: bool) -> io::Result<()> {
        let done = if busy_too {
            attach::take_off(mountpoint)
        } else {
            attach::unmount_idle(mountpoint)
        };
        done.map_err(Into::into)
    }
}
