//! The control directory on a real log: streams as a kernel adapter drives them.
