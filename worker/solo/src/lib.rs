//! Flagstop in one thread, without store and bus: the definitions, instances, events and timers of one `flagstop run` or of
//! one case of `flagstop test`. It performs no I/O and reads no clock; its driver tells it the time and what came back.
