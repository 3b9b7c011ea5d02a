//! A library to preload into a replayed program: its wall clock shows the recorded time.
//!
//! It stands before the C library's functions that read `CLOCK_REALTIME` and adds a constant. All other clocks
//! are passed through, so waits and timers that use them are as they would be. What it does not do: change
//! what the kernel sees. Files get the real time, and a wait until a wall-clock time that the program computed
//! ends at once.
//!
//! The build script compiles this file by itself, without the standard library, and looptape carries the result;
//! `child/recorded_clock.rs` writes the shift into a copy of it. It asks the kernel directly and needs of the C
//! library the place of `errno` only, so it goes with any C library, and is at work from the first instruction on.
//!
//! This is the only unsafe code of looptape: functions with C's calling convention, their pointer arguments as
//! C passes them, and one system call.

#![no_std]
#![allow(clippy::missing_safety_doc)]

use core::arch::asm;
use core::ffi::{c_int, c_long, c_void};
use core::ptr;

/// The shift in ns, behind a mark by which it is found in the file.
#[repr(C, align(8))]
pub struct Shift {
    mark: [u8; 16],
    ns: i64,
}

#[unsafe(no_mangle)]
pub static LOOPTAPE_CLOCK_SHIFT: Shift = Shift { mark: *b"looptape-shift-\x01", ns: 0 };

#[repr(C)]
pub struct Timespec {
    seconds: c_long,
    ns: c_long,
}

#[repr(C)]
pub struct Timeval {
    seconds: c_long,
    us: c_long,
}

const REALTIME: c_int = 0;
const REALTIME_COARSE: c_int = 5;
const REALTIME_ALARM: c_int = 8;
/// International atomic time: the wall clock without leap seconds.
const TAI: c_int = 11;

const NS_PER_S: i64 = 1_000_000_000;

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

/// The system call `clock_gettime`: 0, or an error's number, negated.
#[cfg(target_arch = "x86_64")]
unsafe fn kernel_clock(clock: c_int, time: *mut Timespec) -> isize {
    let mut result: isize = 228;
    // SAFETY: the kernel checks the pointer, and changes nothing but the registers named here.
    unsafe {
        asm!("syscall", inlateout("rax") result, in("rdi") clock as isize, in("rsi") time,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn kernel_clock(clock: c_int, time: *mut Timespec) -> isize {
    let mut result: isize = clock as isize;
    // SAFETY: the kernel checks the pointer, and changes nothing but the registers named here.
    unsafe {
        asm!("svc 0", in("x8") 113, inlateout("x0") result, in("x1") time, options(nostack));
    }
    result
}

fn shifted(time: Timespec) -> Timespec {
    // SAFETY: the static is there as long as the library. Read as volatile, because the file's bytes are
    // changed after it was compiled.
    let shift = unsafe { ptr::read_volatile(&raw const LOOPTAPE_CLOCK_SHIFT.ns) };
    let ns = time.ns.wrapping_add(shift.rem_euclid(NS_PER_S));
    let seconds = time.seconds.wrapping_add(shift.div_euclid(NS_PER_S));
    match ns >= NS_PER_S {
        true => Timespec { seconds: seconds.wrapping_add(1), ns: ns - NS_PER_S },
        false => Timespec { seconds, ns },
    }
}

/// The wall clock, as it was when the run was recorded.
fn wall_clock() -> Timespec {
    let mut now = Timespec { seconds: 0, ns: 0 };
    // SAFETY: the pointer is that of a local.
    unsafe { kernel_clock(REALTIME, &raw mut now) };
    shifted(now)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    // SAFETY: the caller's pointer goes to the kernel as it would without this library.
    let result = unsafe { kernel_clock(clock, time) };
    if result != 0 {
        // SAFETY: every thread has an errno.
        unsafe { *__errno_location() = result.unsigned_abs() as c_int };
        return -1;
    }
    if matches!(clock, REALTIME | REALTIME_COARSE | REALTIME_ALARM | TAI) {
        // SAFETY: the kernel has just written there.
        unsafe { time.write(shifted(time.read())) };
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut Timeval, zone: *mut c_void) -> c_int {
    if !time.is_null() {
        let now = wall_clock();
        // SAFETY: C's contract: null, or room for a timeval.
        unsafe { time.write(Timeval { seconds: now.seconds, us: now.ns / 1000 }) };
    }
    if !zone.is_null() {
        // SAFETY: C's contract: null, or room for a timezone, which is two ints, always 0 on Linux.
        unsafe { zone.cast::<[c_int; 2]>().write([0; 2]) };
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(time: *mut c_long) -> c_long {
    let seconds = wall_clock().seconds;
    if !time.is_null() {
        // SAFETY: C's contract: null, or room for a time_t.
        unsafe { time.write(seconds) };
    }
    seconds
}

/// C11's name for it; base 1 is UTC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timespec_get(time: *mut Timespec, base: c_int) -> c_int {
    if base != 1 {
        return 0;
    }
    // SAFETY: C's contract: room for a timespec.
    unsafe { time.write(wall_clock()) };
    base
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing above panics.
    loop {}
}
