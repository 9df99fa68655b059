//! Carries out what the engine asks of the outside: HTTP requests with their authentication, and programs.
//!
//! It decides nothing about workflows and stores nothing; what dies with the process is asked for again.
