# What is done often. `just` lists it.

default:
    @just --list

# Everything that must hold before a change lands.
ci:
    bash .ci/run

# The tests of one module: just test legacy
test module="":
    cargo test --test main {{module}}

# A throw-away workspace with all seven stories.
demo:
    cargo run --release -- demo

# Whole-process times beside an empty process.
bench:
    cargo bench --bench whole_process

# The reference page of the words, made from their list.
words:
    cargo run -q -- script doc > docs/words.md
