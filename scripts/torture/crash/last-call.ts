/**
 * Makes a process die by SIGKILL exactly at one of its calls that change a disk: in front of it, half through it
 * (writes), or behind it, before anything else of that thread happens.
 *
 * A small library, compiled here and preloaded, stands around the C library's calls. It knows a call by its name
 * and path and counts over all threads; a tracer (strace) counts by thread, cannot tell temporary files apart,
 * and cannot kill behind a call. Nothing else changes: the calls reach the real disk, and the kill is a kill.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Call, callOf, type Point } from "./point.ts";

const COMPILER = process.env["CC"] ?? "cc";

const SOURCE = String.raw`
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum how { LIVE, BEFORE, HALF, AFTER };

static const char *below, *call, *path;
static enum how how;
static long nth;
static atomic_long met;
static int log_fd = -1;
static __typeof__(write) *log_write;

__attribute__((constructor)) static void begin(void) {
  const char *log = getenv("LAST_CALL_LOG"), *way = getenv("LAST_CALL_HOW");
  below = getenv("LAST_CALL_BELOW");
  if (log == NULL || below == NULL) return;
  __typeof__(open) *log_open = dlsym(RTLD_NEXT, "open");
  log_write = dlsym(RTLD_NEXT, "write");
  int fd = log_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 700);
  close(fd);
  if (way == NULL) return;
  how = way[0] == 'b' ? BEFORE : way[0] == 'h' ? HALF : AFTER;
  call = getenv("LAST_CALL_NAME");
  path = getenv("LAST_CALL_PATH");
  nth = atol(getenv("LAST_CALL_NTH"));
}

static void note(const char *mark, const char *name, const char *at) {
  char line[PATH_MAX + 64];
  int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", mark, name, at);
  if (log_write(log_fd, line, length) != length) abort();
}

static void die(void) {
  note("killed", call, path);
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static enum how meet(const char *name, const char *at) {
  int error = errno;
  size_t length = below == NULL ? 0 : strlen(below);
  if (log_fd < 0 || at == NULL || strncmp(at, below, length) != 0) return LIVE;
  if (at[length] != '/' && at[length] != 0) return LIVE;
  at = at[length] == 0 ? "." : at + length + 1;
  note("call", name, at);
  errno = error;
  if (how == LIVE || strcmp(name, call) != 0 || fnmatch(path, at, 0) != 0) return LIVE;
  return atomic_fetch_add(&met, 1) + 1 == nth ? how : LIVE;
}

static const char *path_of(int fd, char *at) {
  char link[64];
  int error = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = log_fd < 0 ? -1 : readlink(link, at, PATH_MAX - 1);
  errno = error;
  if (length < 0) return NULL;
  at[length] = 0;
  return at;
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))
#define AROUND(name, at, real)                    \
  do {                                            \
    enum how now = meet(name, at);                \
    if (now == BEFORE) die();                     \
    __typeof__(real) result = (real);             \
    if (now == AFTER) die();                      \
    return result;                                \
  } while (0)
#define WRITE(name, half, real)                   \
  do {                                            \
    char at[PATH_MAX];                            \
    enum how now = meet(name, path_of(fd, at));   \
    if (now == BEFORE) die();                     \
    if (now == HALF && (half) >= 0) die();        \
    ssize_t result = (real);                      \
    if (now == AFTER) die();                      \
    return result;                                \
  } while (0)
#define BY_FD(name, real)                         \
  do {                                            \
    char at[PATH_MAX];                            \
    AROUND(name, path_of(fd, at), real);          \
  } while (0)
#define OPEN(name, parameters, at, arguments)                                    \
  int name parameters {                                                          \
    mode_t mode = 0;                                                             \
    if (flags & (O_CREAT | O_TMPFILE)) {                                         \
      va_list rest;                                                              \
      va_start(rest, flags);                                                     \
      mode = va_arg(rest, mode_t);                                               \
      va_end(rest);                                                              \
    }                                                                            \
    if (!(flags & (O_CREAT | O_TRUNC))) return REAL(name) arguments;             \
    AROUND("open", at, REAL(name) arguments);                                    \
  }

OPEN(open, (const char *at, int flags, ...), at, (at, flags, mode))
OPEN(open64, (const char *at, int flags, ...), at, (at, flags, mode))
OPEN(openat, (int dir, const char *at, int flags, ...), at, (dir, at, flags, mode))
OPEN(openat64, (int dir, const char *at, int flags, ...), at, (dir, at, flags, mode))
ssize_t write(int fd, const void *b, size_t n) { WRITE("write", REAL(write)(fd, b, n / 2), REAL(write)(fd, b, n)); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { WRITE("write", REAL(pwrite)(fd, b, n / 2, o), REAL(pwrite)(fd, b, n, o)); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { WRITE("write", REAL(pwrite64)(fd, b, n / 2, o), REAL(pwrite64)(fd, b, n, o)); }
ssize_t writev(int fd, const struct iovec *v, int n) { WRITE("write", REAL(writev)(fd, v, n / 2), REAL(writev)(fd, v, n)); }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o) { WRITE("write", REAL(pwritev)(fd, v, n / 2, o), REAL(pwritev)(fd, v, n, o)); }
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t o) { WRITE("write", REAL(pwritev64)(fd, v, n / 2, o), REAL(pwritev64)(fd, v, n, o)); }
int fsync(int fd) { BY_FD("fsync", REAL(fsync)(fd)); }
int fdatasync(int fd) { BY_FD("fdatasync", REAL(fdatasync)(fd)); }
int ftruncate(int fd, off_t n) { BY_FD("ftruncate", REAL(ftruncate)(fd, n)); }
int ftruncate64(int fd, off64_t n) { BY_FD("ftruncate", REAL(ftruncate64)(fd, n)); }
int fallocate(int fd, int mode, off_t o, off_t n) { BY_FD("fallocate", REAL(fallocate)(fd, mode, o, n)); }
int fallocate64(int fd, int mode, off64_t o, off64_t n) { BY_FD("fallocate", REAL(fallocate64)(fd, mode, o, n)); }
int fchmod(int fd, mode_t mode) { BY_FD("chmod", REAL(fchmod)(fd, mode)); }
int fchown(int fd, uid_t user, gid_t group) { BY_FD("chown", REAL(fchown)(fd, user, group)); }
int chmod(const char *at, mode_t mode) { AROUND("chmod", at, REAL(chmod)(at, mode)); }
int mkdir(const char *at, mode_t mode) { AROUND("mkdir", at, REAL(mkdir)(at, mode)); }
int rmdir(const char *at) { AROUND("rmdir", at, REAL(rmdir)(at)); }
int unlink(const char *at) { AROUND("unlink", at, REAL(unlink)(at)); }
int link(const char *from, const char *at) { AROUND("link", at, REAL(link)(from, at)); }
int symlink(const char *from, const char *at) { AROUND("symlink", at, REAL(symlink)(from, at)); }
int rename(const char *from, const char *at) { AROUND("rename", at, REAL(rename)(from, at)); }
int truncate(const char *at, off_t n) { AROUND("truncate", at, REAL(truncate)(at, n)); }
int truncate64(const char *at, off64_t n) { AROUND("truncate", at, REAL(truncate64)(at, n)); }
int linkat(int a, const char *from, int b, const char *at, int f) { AROUND("link", at, REAL(linkat)(a, from, b, at, f)); }
int renameat(int a, const char *from, int b, const char *at) { AROUND("rename", at, REAL(renameat)(a, from, b, at)); }
int renameat2(int a, const char *from, int b, const char *at, unsigned f) { AROUND("rename", at, REAL(renameat2)(a, from, b, at, f)); }
int unlinkat(int a, const char *at, int f) { AROUND("unlink", at, REAL(unlinkat)(a, at, f)); }
int mkdirat(int a, const char *at, mode_t mode) { AROUND("mkdir", at, REAL(mkdirat)(a, at, mode)); }
int fchmodat(int a, const char *at, mode_t mode, int f) { AROUND("chmod", at, REAL(fchmodat)(a, at, mode, f)); }
`;

/** What one life of a program did to the files below a directory. */
export interface Life {
  /** Every call that changes a disk, in the order in which they began. */
  readonly calls: readonly Call[];
  readonly wasKilled: boolean;
}

export class LastCall {
  private readonly library: string;

  /** @param dir where the library is put. @throws Error where it cannot be built */
  constructor(dir: string) {
    this.library = join(dir, "last-call.so");
    const compile = ["-shared", "-fPIC", "-O0", "-w", "-o", this.library, "-x", "c", "-", "-ldl"];
    if (process.platform !== "linux") throw new Error("kills at single calls need Linux");
    try {
      execFileSync(COMPILER, compile, { input: SOURCE, stdio: ["pipe", "ignore", "pipe"] });
    } catch (cause) {
      throw new Error(`kills at single calls need a C compiler, and ${COMPILER} does not work: install gcc`, {
        cause,
      });
    }
  }

  /** @returns the environment in which a program dies at `point` (or only notes its calls), and its life so far */
  environment(below: string, log: string, point?: Point): { env: Record<string, string>; life: () => Life } {
    const env = { LD_PRELOAD: this.library, LAST_CALL_BELOW: below, LAST_CALL_LOG: log };
    const life = () => readLife(log);
    if (point === undefined) return { env, life };
    const { call, nth, how } = point;
    const deadly = {
      LAST_CALL_NAME: call.name,
      LAST_CALL_PATH: call.path,
      LAST_CALL_NTH: `${nth}`,
      LAST_CALL_HOW: how,
    };
    return { env: { ...env, ...deadly }, life };
  }
}

function readLife(log: string): Life {
  const lines = readFileSync(log, "utf8").trimEnd().split("\n");
  const calls = lines.flatMap((line) => {
    const [mark, name = "", path = ""] = line.split("\t");
    return mark === "call" ? [callOf(name, path)] : [];
  });
  // Not always the last line: other threads may call until the signal reaches them.
  return { calls, wasKilled: lines.some((line) => line.startsWith("killed\t")) };
}
