//! Arguments that choose and change a scenario: shared by `run`, `inspect`, `debug` and `serve`.
