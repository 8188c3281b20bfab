#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR MIT
#
# demo.sh [TEXT] - what a private heap is good for, in four scenes with the program wordindex.
#
# Runs as root where pheap.ko is loaded and the memory controller of cgroup v2 is there: in the
# virtual machine of `make demo`, or on a real one. Makes a cgroup "pheap-demo" and removes it at
# the end. Needs a POSIX shell and the usual small tools; busybox will do.

here=$(dirname "$0")
text=${1:-$here/kernel-comments.txt}
index=$here/wordindex
group=/sys/fs/cgroup/pheap-demo
scenes=4

for file in "$index" "$text"; do
	[ -r "$file" ] || { echo "demo.sh: no $file" >&2; exit 1; }
done
[ -c /dev/pheap ] || { echo "demo.sh: no /dev/pheap: is pheap.ko loaded?" >&2; exit 1; }

scene=0
title()
{
	scene=$((scene + 1))
	printf '\n\n=== %d of %d: %s ===\n\n' "$scene" "$scenes" "$1"
}

# Shows how one would type wordindex with these options and the text, then runs it.
show()
{
	printf '\n$ wordindex %s %s\n' "$*" "${text##*/}"
	"$index" "$@" "$text"
}

# The same in the cgroup.
show_limited()
{
	printf '\n$ wordindex %s %s          (in the cgroup)\n' "$*" "${text##*/}"
	sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' sh "$group" "$index" "$@" "$text"
}

oom_kills()
{
	sed -n 's/^oom_kill //p' "$group/memory.events"
}

cat <<-END
	pheap: private heaps, managed by the kernel. The program "wordindex" reads a text and
	keeps an index of its words (how often, in which lines) in a heap of its own.
END

title 'an index in a private heap'
cat <<-END
	The heap starts with 1 MiB of memory that it really has, and may grow to 64 MiB. Every
	word and every list of lines is a block in it.
END
show -i 1M -x 64M -w heap

title 'memory that is not there'
cat <<-END
	A cgroup lets its programs use 64 MiB. The index asks for 96 MiB from the start, to be
	sure that it will not run out of memory in the middle of its work. First with malloc,
	which promises what is not there:
END
mkdir -p "$group" && echo 64M >"$group/memory.max" || exit 1
[ ! -e "$group/memory.swap.max" ] || echo 0 >"$group/memory.swap.max"
before=$(oom_kills)
show_limited -m -i 96M -n 3
status=$?
killed=$(($(oom_kills) - before))
[ $status -lt 128 ] || echo "(killed by signal $((status - 128)))"
cat <<-END

	Programs that the OOM killer ended in the cgroup: $killed.

	The same with a private heap. The answer comes at once, as an error that the program can
	handle; it settles for less and does its work:
END
before=$(oom_kills)
show_limited -i 96M -n 3
status=$?
killed=$(($(oom_kills) - before))
cat <<-END

	Exit status $status. Programs that the OOM killer ended in the cgroup: $killed.
END

title 'a heap with a limit'
cat <<-END
	A heap never grows beyond its maximum, here 256 KiB: no bug and no input can make it eat
	the machine. When it is full, an allocation fails with an error of its own, and the
	program decides what to leave out:
END
show -i 0 -x 256K -n 3

title 'everything back in one call'
cat <<-END
	The index is never taken apart. One call ends the heap, and all its pages are back with
	the system when it returns:
END
show -c -i 0 -n 0

rmdir "$group"
echo
