// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * wordindex - counts the words of a text and remembers their lines, in a private heap.
 *
 * Everything that the index is made of (hash table, words, lists of lines) is a block of one heap,
 * and nothing is freed one by one: destroying the heap ends it all. When memory fails the program
 * says what happened, keeps what it has, and goes on. With -m the index lives in malloc()'s memory.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <heapuser.h>

#define MAX_WORD	63
#define MAX_TOP		100
#define COUNTERS	"/sys/module/pheap/parameters/"

/* Lines in which a word stands: a chain of pieces, each twice as long as the one before. */
struct lines {
	struct lines *next;
	uint32_t nr;
	uint32_t room;
	uint32_t line[];
};

struct word {
	struct word *next;		/* in the same slot of the hash table */
	struct lines *first;
	struct lines *last;
	uint32_t hash;
	uint32_t count;
	char text[];
};

struct index {
	struct pheap *heap;		/* NULL: malloc */
	struct word **slots;
	size_t nr_slots;		/* a power of two */
	size_t nr_words;		/* different ones */
	uint64_t nr_read;		/* all */
	uint64_t nr_left_out;		/* for want of memory */
	bool full;
	uint32_t line;
	uint64_t bytes;
};

/* "1,234,567" */
static const char *grouped(uint64_t n)
{
	static char ring[8][32];
	static int turn;
	char *p = ring[turn = (turn + 1) % 8] + 31;
	int digits = 0;

	do {
		if (digits && digits % 3 == 0)
			*--p = ',';
		*--p = '0' + n % 10;
		digits++;
		n /= 10;
	} while (n);
	return p;
}

/* "12.5 MiB" */
static const char *sized(uint64_t bytes)
{
	static const char *const unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	static char ring[8][32];
	static int turn;
	double value = bytes;
	int i = 0;

	turn = (turn + 1) % 8;
	while (value >= 1024 && i < 4) {
		value /= 1024;
		i++;
	}
	snprintf(ring[turn], sizeof(ring[turn]), "%.*f %s", i ? 1 : 0, value, unit[i]);
	return ring[turn];
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/*
 * The index. All its memory comes and goes through these two functions.
 */

static void *index_zalloc(struct index *ix, size_t bytes)
{
	if (ix->full)
		return NULL;
	return ix->heap ? pheap_zalloc(ix->heap, bytes) : calloc(1, bytes);
}

static void index_free(struct index *ix, void *p)
{
	if (ix->heap)
		pheap_free(ix->heap, p);
	else
		free(p);
}

/* Doubles the hash table. Without memory for that, the old one serves on, if more slowly. */
static void index_grow(struct index *ix)
{
	size_t nr_slots = ix->nr_slots ? 2 * ix->nr_slots : 64;
	struct word **slots = index_zalloc(ix, nr_slots * sizeof(*slots));
	size_t i;

	if (!slots)
		return;
	for (i = 0; i < ix->nr_slots; i++) {
		struct word *w, *next;

		for (w = ix->slots[i]; w; w = next) {
			next = w->next;
			w->next = slots[w->hash & (nr_slots - 1)];
			slots[w->hash & (nr_slots - 1)] = w;
		}
	}
	index_free(ix, ix->slots);
	ix->slots = slots;
	ix->nr_slots = nr_slots;
}

static uint32_t hash_of(const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 16777619u;
	return hash;
}

static struct word *index_find(const struct index *ix, const char *text)
{
	uint32_t hash = hash_of(text);
	struct word *w;

	if (!ix->nr_slots)
		return NULL;
	for (w = ix->slots[hash & (ix->nr_slots - 1)]; w; w = w->next)
		if (w->hash == hash && !strcmp(w->text, text))
			return w;
	return NULL;
}

/* Return: false if there is no memory to remember the line. */
static bool word_add_line(struct index *ix, struct word *w)
{
	struct lines *last = w->last;

	if (last && last->line[last->nr - 1] == ix->line)
		return true;
	if (!last || last->nr == last->room) {
		uint32_t room = last ? 2 * last->room : 2;
		struct lines *more;

		more = index_zalloc(ix, sizeof(*more) + room * sizeof(more->line[0]));
		if (!more)
			return false;
		more->room = room;
		if (last)
			last->next = more;
		else
			w->first = more;
		w->last = more;
		last = more;
	}
	last->line[last->nr++] = ix->line;
	return true;
}

/* Return: false if there is no memory for this word, or for where it stands. */
static bool index_add(struct index *ix, const char *text)
{
	struct word *w = index_find(ix, text);
	size_t slot;

	ix->nr_read++;
	if (!w) {
		if (ix->nr_words >= ix->nr_slots)
			index_grow(ix);
		w = ix->nr_slots ? index_zalloc(ix, sizeof(*w) + strlen(text) + 1) : NULL;
		if (!w)
			return false;
		strcpy(w->text, text);
		w->hash = hash_of(text);
		slot = w->hash & (ix->nr_slots - 1);
		w->next = ix->slots[slot];
		ix->slots[slot] = w;
		ix->nr_words++;
	}
	w->count++;
	return word_add_line(ix, w);
}

static void index_word(struct index *ix, const char *text)
{
	if (index_add(ix, text))
		return;
	ix->nr_left_out++;
	if (!ix->full) {
		/* Not asked again: what still fits into the gaps would make the index no better. */
		ix->full = true;
		printf("  ! line %s: %s.\n", grouped(ix->line),
		       ix->heap ? pheap_strerror(errno) : strerror(errno));
		printf("    Going on: known words are still counted, new ones left out.\n");
	}
}

static int index_file(struct index *ix, const char *path)
{
	static char buffer[65536];
	char word[MAX_WORD + 1];
	size_t len = 0;
	ssize_t n, i;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ix->line = 1;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
		for (i = 0; i < n; i++) {
			unsigned char c = buffer[i];

			/* Bytes of letters outside ASCII belong to words, too. */
			if (isalpha(c) || c >= 0x80) {
				if (len < MAX_WORD)
					word[len++] = tolower(c);
				continue;
			}
			if (len) {
				word[len] = 0;
				index_word(ix, word);
				len = 0;
			}
			ix->line += c == '\n';
		}
		ix->bytes += n;
	}
	if (len) {
		word[len] = 0;
		index_word(ix, word);
	}
	close(fd);
	return n < 0 ? -1 : 0;
}

/*
 * What it tells
 */

static void print_top(const struct index *ix, int nr_top)
{
	const struct word *top[MAX_TOP + 1], *w;
	int nr = 0, i;
	size_t slot;

	for (slot = 0; slot < ix->nr_slots; slot++) {
		for (w = ix->slots[slot]; w; w = w->next) {
			for (i = nr; i > 0 && top[i - 1]->count < w->count; i--)
				top[i] = top[i - 1];
			top[i] = w;
			if (nr < nr_top)
				nr++;
		}
	}
	for (i = 0; i < nr; i++) {
		printf("  %4d. %-16s %10s times", i + 1, top[i]->text, grouped(top[i]->count));
		if (top[i]->first)
			printf(", first in line %s", grouped(top[i]->first->line[0]));
		printf("\n");
	}
}

static void print_word(const struct index *ix, const char *text)
{
	const struct word *w = index_find(ix, text);
	const struct lines *l;
	uint32_t nr = 0, i;

	printf("\n  \"%s\"", text);
	if (!w) {
		printf(" is not in the index.\n");
		return;
	}
	printf(" stands %s times, in lines", grouped(w->count));
	for (l = w->first; l; l = l->next) {
		for (i = 0; i < l->nr; i++)
			if (nr++ < 8)
				printf(" %u", l->line[i]);
	}
	printf(nr > 8 ? " and %s more\n" : "\n", grouped(nr - 8));
}

static void print_heap(struct pheap *heap)
{
	struct pheap_stat st;

	if (pheap_stat(heap, &st, sizeof(st))) {
		printf("  ! no figures: %s\n", pheap_strerror(errno));
		return;
	}
	printf("\n  The heap:\n");
	printf("    reserved  %12s   addresses to grow into; they cost nothing\n",
	       sized(st.reserved_bytes));
	printf("    committed %12s   physical memory that it has and keeps\n",
	       sized(st.committed_bytes));
	printf("    allocated %12s   in %s blocks, %.0f %% of what is committed\n",
	       sized(st.allocated_bytes), grouped(st.nr_blocks),
	       100.0 * st.allocated_bytes / st.committed_bytes);
	printf("    metadata  %12s   kernel memory that describes it\n", sized(st.metadata_bytes));
	printf("    faults    %12s   page faults while it was filled\n", grouped(st.nr_faults));
	printf("    failures  %12s   allocations it had to refuse\n", grouped(st.nr_failures));
}

/* A number from a file of the system, from behind @key if that is given. */
static uint64_t system_number(const char *path, const char *key)
{
	char buffer[1024];
	const char *p = buffer;
	ssize_t n = 0;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, buffer, sizeof(buffer) - 1);
		close(fd);
	}
	buffer[n > 0 ? n : 0] = 0;
	if (key) {
		p = strstr(buffer, key);
		p = p ? p + strlen(key) : "";
	}
	return strtoull(p, NULL, 10);
}

static void print_counters(const char *when)
{
	uint64_t pages = system_number(COUNTERS "committed_pages", NULL);
	uint64_t heaps = system_number(COUNTERS "nr_heaps", NULL);
	uint64_t kib = system_number("/proc/meminfo", "MemAvailable:");

	printf("  %-16s heaps: %s   committed pages: %6s   available memory: %s KiB\n", when,
	       grouped(heaps), grouped(pages), grouped(kib));
}

/*
 * Where the memory comes from
 */

/*
 * Asks for the initial memory; if that is not to be had, for half of it, and so on. That is the
 * point of a private heap: the answer comes here, where something can be done about it.
 */
static struct pheap *heap_open(size_t initial, size_t maximum)
{
	struct pheap *heap;

	while (!(heap = pheap_create_named(initial, maximum, 0, "wordindex"))) {
		printf("  ! no heap with %s: %s.\n", sized(initial), pheap_strerror(errno));
		if (errno != ENOMEM || !initial)
			break;
		initial /= 2;
		printf("    Going on: %s at the start must do.\n", sized(initial));
	}
	if (!heap)
		printf("    Going on with malloc instead.\n");
	return heap;
}

/* The same with malloc(): it always says yes, and the truth comes out when the memory is used. */
static void malloc_open(size_t initial)
{
	void *p = malloc(initial);

	printf("  malloc(%s): %s\n", sized(initial), p ? "fine, says malloc" : strerror(errno));
	if (!p)
		return;
	printf("  Making sure that it is there, by touching it ...\n");
	/* Unlike memset(), never optimized away. */
	explicit_bzero(p, initial);
	printf("  It is.\n");
	free(p);
}

static size_t parse_size(const char *text)
{
	static const char units[] = "KMG";
	char *end;
	double value = strtod(text, &end);
	const char *unit = *end && end != text ? strchr(units, toupper((unsigned char)*end)) : NULL;

	if (unit) {
		value *= 1ULL << 10 * (unit - units + 1);
		end++;
	}
	if (*end || end == text || !(value >= 0 && value < 1e15)) {
		fprintf(stderr, "wordindex: \"%s\" is no size such as 64K, 10M or 1G\n", text);
		exit(2);
	}
	return value;
}

static void die_usage(void)
{
	fprintf(stderr,
		"usage: wordindex [OPTION]... FILE\n"
		"  -i SIZE  memory that the heap has from the start (1M)\n"
		"  -x SIZE  maximum of the heap (0: grows as far as the machine goes)\n"
		"  -m       use malloc, not a heap\n"
		"  -n N     print the N most frequent words (10)\n"
		"  -w WORD  print the lines in which WORD stands\n"
		"  -c       print the counters of module and machine before and after\n");
	exit(2);
}

int main(int argc, char **argv)
{
	size_t initial = 1 << 20, maximum = 0;
	bool use_malloc = false, counters = false;
	const char *path, *query = NULL;
	struct index ix = { 0 };
	int nr_top = 10, c;
	double start;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "i:x:mn:w:c")) != -1) {
		switch (c) {
		case 'i':
			initial = parse_size(optarg);
			break;
		case 'x':
			maximum = parse_size(optarg);
			break;
		case 'm':
			use_malloc = true;
			break;
		case 'n':
			nr_top = atoi(optarg);
			break;
		case 'w':
			query = optarg;
			break;
		case 'c':
			counters = true;
			break;
		default:
			die_usage();
		}
	}
	if (optind != argc - 1 || nr_top < 0 || nr_top > MAX_TOP)
		die_usage();
	path = argv[optind];

	if (counters)
		print_counters("before:");
	if (use_malloc)
		malloc_open(initial);
	else
		ix.heap = heap_open(initial, maximum);
	start = seconds();
	if (index_file(&ix, path)) {
		fprintf(stderr, "wordindex: %s: %s\n", path, strerror(errno));
		return 1;
	}
	printf("  %s: %s, %s lines\n", path, sized(ix.bytes), grouped(ix.line - 1));
	printf("  %s words, %s different ones, in %.1f s\n", grouped(ix.nr_read),
	       grouped(ix.nr_words), seconds() - start);
	if (ix.nr_left_out)
		printf("  %s times something had to be left out\n", grouped(ix.nr_left_out));
	if (nr_top)
		printf("\n");
	print_top(&ix, nr_top);
	if (query)
		print_word(&ix, query);
	if (ix.heap)
		print_heap(ix.heap);
	if (counters)
		print_counters("with the index:");
	if (ix.heap) {
		start = seconds();
		if (pheap_destroy(ix.heap))
			printf("  ! %s\n", pheap_strerror(errno));
		else if (counters)
			printf("  pheap_destroy(): %.1f ms\n", 1e3 * (seconds() - start));
	}
	if (counters)
		print_counters("after that:");
	return 0;
}
