//! Pod workers, probes, volumes, status; its own HTTPS server.
