//! Random work through the recorder and behind its back.
