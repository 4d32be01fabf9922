//! Compilers and assemblers that publish their code with execbuf. Each file shows one, and is tested.

#[cfg(target_arch = "x86_64")]
mod module;
#[cfg(target_arch = "x86_64")]
mod provider;

#[cfg(target_arch = "x86_64")]
pub use module::PoolModule;
#[cfg(target_arch = "x86_64")]
pub use provider::PoolMemory;
