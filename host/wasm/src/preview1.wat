;; WASI 0.1 ("preview 1") with nothing behind it, for core modules whose language runtime insists on it: stock Go, C with
;; wasi-libc, TinyGo, Rust for wasm32-wasip1.
;;
;; wit-component puts this module beside the policy's own in one component and keeps the functions that are imported.
;; Every answer is given inside the component, so the runtime may ask at any time: also within `cabi_realloc`, where the
;; component model forbids calls to the host, and where Go's garbage collector looks at the clock.
;;
;; There are no files, arguments, environment or network. What is written is dropped. The clock knows no time: it moves
;; on by a microsecond whenever it is looked at, so that a runtime which waits for it comes to an end. "Random" bytes are
;; the same sequence in every instance. An adapter may have neither data nor a memory of its own.
(module
  (import "env" "memory" (memory 0))

  ;; Nanoseconds. Not 0 at first: Go takes that for a broken clock.
  (global $now (mut i64) (i64.const 1000))
  (global $random (mut i64) (i64.const 0))

  ;; Error numbers: 0 success, 8 bad descriptor, 52 not supported, 70 not seekable, 76 not permitted.

  ;; Time

  (func $tick (param $by i64) (result i64)
    (global.set $now (i64.add (global.get $now) (local.get $by)))
    (global.get $now))

  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $to i32) (result i32)
    (i64.store align=1 (local.get $to) (call $tick (i64.const 1000)))
    (i32.const 0))

  (func (export "clock_res_get") (param $clock i32) (param $to i32) (result i32)
    (i64.store align=1 (local.get $to) (i64.const 1000))
    (i32.const 0))

  ;; The bindings of wit-bindgen for Go stop the clock around an allocation, because the usual adapter would ask the host.
  (func (export "adapter_monotonic_clock_set_paused") (param $paused i32))

  ;; Everything that is waited for has happened at once, a millisecond later. A subscription has 48 bytes, with its
  ;; mark at 0 and its kind at 8; an event has 32, with the mark at 0, an error at 8, the kind at 10.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $events i32) (result i32)
    (drop (call $tick (i64.const 1000000)))
    (i32.store align=1 (local.get $events) (local.get $count))
    (block $done
      (loop $each
        (br_if $done (i32.eqz (local.get $count)))
        (i64.store align=1 (local.get $out) (i64.load align=1 (local.get $in)))
        (i64.store offset=8 align=1 (local.get $out) (i64.const 0))
        (i64.store offset=16 align=1 (local.get $out) (i64.const 0))
        (i64.store offset=24 align=1 (local.get $out) (i64.const 0))
        (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $in)))
        (local.set $in (i32.add (local.get $in) (i32.const 48)))
        (local.set $out (i32.add (local.get $out) (i32.const 32)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $each)))
    (i32.const 0))

  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; Randomness: SplitMix64, a byte of each number.

  (func $draw (result i32) (local $z i64)
    (global.set $random (i64.add (global.get $random) (i64.const 0x9e3779b97f4a7c15)))
    (local.set $z (global.get $random))
    (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 30)))
                           (i64.const 0xbf58476d1ce4e5b9)))
    (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 27)))
                           (i64.const 0x94d049bb133111eb)))
    (i32.wrap_i64 (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 31)))))

  (func (export "random_get") (param $to i32) (param $length i32) (result i32)
    (block $done
      (loop $each
        (br_if $done (i32.eqz (local.get $length)))
        (i32.store8 (local.get $to) (call $draw))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $each)))
    (i32.const 0))

  ;; Arguments and environment: none

  (func $none (param $count i32) (param $bytes i32) (result i32)
    (i32.store align=1 (local.get $count) (i32.const 0))
    (i32.store align=1 (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))

  (func $nothing-to-give (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $nothing-to-give))
  (export "environ_get" (func $nothing-to-give))

  ;; Standard input, output and error: three terminals that say nothing and drop what they are told

  (func (export "fd_fdstat_get") (param $fd i32) (param $to i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (i64.store align=1 (local.get $to) (i64.const 2)) ;; a character device
    (i64.store offset=8 align=1 (local.get $to) (i64.const 0x42)) ;; to read and write
    (i64.store offset=16 align=1 (local.get $to) (i64.const 0))
    (i32.const 0))

  ;; The lengths of all pieces, 8 bytes each: address, length.
  (func (export "fd_write") (param $fd i32) (param $pieces i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (block $done
      (loop $each
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 align=1 (local.get $pieces))))
        (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $each)))
    (i32.store align=1 (local.get $written) (local.get $sum))
    (i32.const 0))

  (func (export "fd_read") (param $fd i32) (param $pieces i32) (param $count i32) (param $read i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (i32.store align=1 (local.get $read) (i32.const 0))
    (i32.const 0))

  (func $fd (param $fd i32) (result i32)
    (if (result i32) (i32.gt_u (local.get $fd) (i32.const 2)) (then (i32.const 8)) (else (i32.const 0))))
  (export "fd_close" (func $fd))
  (export "fd_datasync" (func $fd))
  (export "fd_sync" (func $fd))
  (func (export "fd_fdstat_set_flags") (param $fd i32) (param $flags i32) (result i32) (call $fd (local.get $fd)))

  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 70))
  (func (export "fd_tell") (param i32 i32) (result i32) (i32.const 70))

  ;; No folder is open: this is how libraries learn it
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))

  ;; The end of the program is a trap: the gateway throws the instance away
  (func (export "proc_exit") (param i32) unreachable)

  ;; Whatever else is asked of files, folders and sockets

  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 52))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 52))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 52))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 52))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 52))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 76))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 76))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 76))
  (func (export "proc_raise") (param i32) (result i32) (i32.const 52))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 52)))
