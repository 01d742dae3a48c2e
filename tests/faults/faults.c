/*
 * faults.c - system calls that fail when a test says so
 *
 * Preloaded into the daemon.  A file in the directory $FAULTS, named after a call, says what becomes of it:
 *
 *     <errno> <nth> <fragment>
 *
 * Of the calls on paths with this fragment every nth one fails with this errno.  With errno 0 the nth one writes half
 * of what it was given, and kills the process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define NO_FAULT (-1)
#define KILL 0

static unsigned int calls;

/* What the test wants of this call: an errno, KILL or NO_FAULT. */
static int
fault_of(const char *call, int fd, const char *path)
{
	char		control[PATH_MAX];
	char		said[512];
	char		target[PATH_MAX];
	char		fragment[256];
	const char *directory = getenv("FAULTS");
	int			what;
	unsigned int nth;
	long		length;

	if (directory == NULL)
		return NO_FAULT;
	snprintf(control, sizeof(control), "%s/%s", directory, call);
	int			opened = (int) syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);

	if (opened < 0)
		return NO_FAULT;
	length = syscall(SYS_read, opened, said, sizeof(said) - 1);
	syscall(SYS_close, opened);
	said[length > 0 ? length : 0] = '\0';
	if (sscanf(said, "%d %u %255s", &what, &nth, fragment) != 3)
		return NO_FAULT;
	if (path == NULL)
	{
		snprintf(control, sizeof(control), "/proc/self/fd/%d", fd);
		length = readlink(control, target, sizeof(target) - 1);
		target[length > 0 ? length : 0] = '\0';
		path = target;
	}
	if (strstr(path, fragment) == NULL)
		return NO_FAULT;
	return __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) % nth == 0 ? what : NO_FAULT;
}

static int
fails(int fault)
{
	if (fault <= 0)
		return 0;
	errno = fault;
	return 1;
}

ssize_t
pread64(int fd, void *buffer, size_t count, off64_t offset)
{
	if (fails(fault_of("pread", fd, NULL)))
		return -1;
	return syscall(SYS_pread64, fd, buffer, count, offset);
}

ssize_t
pread(int fd, void *buffer, size_t count, off_t offset)
{
	return pread64(fd, buffer, count, offset);
}

ssize_t
pwrite64(int fd, const void *buffer, size_t count, off64_t offset)
{
	int			fault = fault_of("write", fd, NULL);

	if (fails(fault))
		return -1;
	if (fault == KILL)
	{
		syscall(SYS_pwrite64, fd, buffer, count / 2, offset);
		kill(getpid(), SIGKILL);
	}
	return syscall(SYS_pwrite64, fd, buffer, count, offset);
}

ssize_t
pwrite(int fd, const void *buffer, size_t count, off_t offset)
{
	return pwrite64(fd, buffer, count, offset);
}

ssize_t
write(int fd, const void *buffer, size_t count)
{
	int			fault = fault_of("write", fd, NULL);

	if (fails(fault))
		return -1;
	if (fault == KILL)
	{
		syscall(SYS_write, fd, buffer, count / 2);
		kill(getpid(), SIGKILL);
	}
	return syscall(SYS_write, fd, buffer, count);
}

int
inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	if (fails(fault_of("inotify_add_watch", fd, path)))
		return -1;
	return (int) syscall(SYS_inotify_add_watch, fd, path, mask);
}
