//! Against the real programs: DuckDB, dbt, Dagster, Jupyter, PyAirbyte, npm packages and a Docker engine. They are
//! installed under `target/real-stack/` the first time; where one can't be had, the test says "skipped: why".

mod containers;
mod deployment;
mod duckdb;
mod failures;
mod former;
mod programs;
mod recovery;
mod stack;
mod stories;
mod uv;
