//! The generated methods follow from the description of the protocol.

#[path = "../../../xtask/src/codegen.rs"]
mod codegen;

#[test]
fn method_rs_is_current() {
    codegen::run(true).unwrap();
}
