//! The last steps inside a new container, before its own program runs.
#![expect(unsafe_code, reason = "seccomp filters and signal dispositions are set by raw calls")]

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use caps::{CapSet, Capability, CapsHashSet};
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use seccompiler::BpfProgram;

use crate::seccomp;
use crate::security::Security;
use crate::shim::{Report, report};

/// Runs a container's program with what its [`Security`] leaves it.
#[derive(Clone)]
pub(crate) struct Payload {
    capabilities: CapsHashSet,
    ambient: CapsHashSet,
    no_new_privs: bool,
    /// In the order of installation.
    filters: Rc<Vec<BpfProgram>>,
}

fn parse(names: &BTreeSet<String>) -> CapsHashSet {
    names.iter().filter_map(|name| name.parse::<Capability>().ok()).collect()
}

impl Payload {
    /// Compiles the filters; this must happen outside of the container.
    pub(crate) fn new(security: Security) -> Result<Self, String> {
        Ok(Self {
            capabilities: parse(&security.capabilities),
            ambient: parse(&security.ambient),
            no_new_privs: security.no_new_privs,
            filters: Rc::new(seccomp::compile(&security.filter, &security.capabilities)?),
        })
    }

    fn install_filters(&self) -> Result<(), String> {
        for filter in self.filters.iter() {
            let length = u16::try_from(filter.len()).map_err(|e| e.to_string())?;
            let program =
                libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut().cast() };
            // SAFETY: the program outlives the call; sock_filter of both crates is the kernel's.
            let answer = unsafe {
                libc::syscall(
                    libc::SYS_seccomp,
                    libc::SECCOMP_SET_MODE_FILTER,
                    0,
                    &raw const program,
                )
            };
            if answer != 0 {
                return Err(format!("install seccomp: {}", std::io::Error::last_os_error()));
            }
        }
        Ok(())
    }

    fn drop_capabilities(&self) -> Result<(), caps::errors::CapsError> {
        for capability in caps::read(None, CapSet::Bounding)? {
            if !self.capabilities.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
        caps::set(None, CapSet::Inheritable, &self.ambient)?;
        caps::set(None, CapSet::Ambient, &self.ambient)?;
        caps::set(None, CapSet::Effective, &self.capabilities)?;
        caps::set(None, CapSet::Permitted, &self.capabilities)
    }

    fn run(&self, spec: &Spec) -> Result<(), String> {
        let process = spec.process().as_ref().ok_or("there is no process")?;
        let args = process.args().as_ref().ok_or("there is no command")?;
        let program = find(args.first().ok_or("there is no command")?, process.env().as_deref())?;
        let program = CString::new(program.into_os_string().into_encoded_bytes())
            .map_err(|e| e.to_string())?;
        let args: Vec<CString> = args
            .iter()
            .map(|word| CString::new(&**word))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        // The container ends with its shim.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| e.to_string())?;
        if !self.no_new_privs {
            self.install_filters()?;
        }
        self.drop_capabilities().map_err(|e| format!("drop capabilities: {e}"))?;
        if self.no_new_privs {
            self.install_filters()?;
        }
        // std ignores SIGPIPE, and that would be inherited.
        // SAFETY: the default disposition is no handler.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map_err(|e| e.to_string())?;
        SigSet::empty().thread_set_mask().map_err(|e| e.to_string())?;
        let error = match nix::unistd::execv(&program, &args) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        Err(format!("exec {}: {}", program.to_string_lossy(), error.desc()))
    }
}

impl Executor for Payload {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let why = self.run(spec).err().unwrap_or_default();
        // `libcontainer` has nobody left to tell; the shim still listens.
        report(&Report::Failed(why.clone()), None);
        Err(ExecutorError::Other(why))
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let process = spec.process().as_ref();
        let program = process.and_then(|p| p.args().as_ref()).and_then(|args| args.first());
        let missing = || ExecutorValidationError::ArgValidationError("there is no command".into());
        let env = process.and_then(|p| p.env().as_deref());
        find(program.ok_or_else(missing)?, env)
            .map(drop)
            .map_err(ExecutorValidationError::ArgValidationError)
    }
}

/// Finds a program as a shell would; the errors are worded as container users know them.
fn find(program: &str, env: Option<&[String]>) -> Result<PathBuf, String> {
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let path = PathBuf::from(program);
        return match path.metadata() {
            Err(error) => {
                let why = if error.kind() == std::io::ErrorKind::NotFound {
                    "no such file or directory".to_owned()
                } else {
                    error.to_string()
                };
                Err(format!("exec: {program:?}: stat {program}: {why}"))
            }
            Ok(meta) if meta.is_dir() => Err(format!("exec: {program:?}: is a directory")),
            Ok(_) if !is_program(&path) => Err(format!("exec: {program:?}: permission denied")),
            Ok(_) => Ok(path),
        };
    }
    let path = env.unwrap_or_default().iter().rev().find_map(|entry| entry.strip_prefix("PATH="));
    path.unwrap_or_default()
        .split(':')
        .map(|folder| Path::new(if folder.is_empty() { "." } else { folder }).join(program))
        .find(|path| is_program(path))
        .ok_or_else(|| format!("exec: {program:?}: executable file not found in $PATH"))
}
