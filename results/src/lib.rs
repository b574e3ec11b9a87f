//! What people look at: tables, CSV and JSON.
