/*
 * Stands between an input device of a Linux guest and whoever reads it: copies its records into a FIFO, and damages
 * them at the moment it is told.
 *
 *   saboteur DEVICE FIFO KIND AT [AMOUNT]
 *
 * AT counts inputs from 1: presses, positions and motions. The kinds are those of guest-saboteur.ts.
 */
#include <fcntl.h>
#include <linux/input.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { AUTOREPEAT = 2, NOISE_BYTES = 4096 };

static const char *kind;
static long at, amount, count;
static int out;

static int is(const char *name) { return strcmp(kind, name) == 0; }

static void put(const void *bytes, size_t size) {
  const char *next = bytes;
  while (size > 0) {
    ssize_t done = write(out, next, size);
    if (done <= 0) exit(0);
    next += done;
    size -= done;
  }
}
static void put_record(struct input_event like, int type, int code, int value) {
  like.type = type;
  like.code = code;
  like.value = value;
  put(&like, sizeof like);
}
static void put_stroke(struct input_event like, int code) {
  for (int value = 1; value >= 0; value--) {
    put_record(like, EV_KEY, code, value);
    put_record(like, EV_SYN, SYN_REPORT, 0);
  }
}
static void put_noise(unsigned long state) {
  unsigned char noise[NOISE_BYTES];
  for (int index = 0; index < NOISE_BYTES; index++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    noise[index] = state >> 33;
  }
  put(noise, amount < NOISE_BYTES ? amount : NOISE_BYTES);
}

/* The code of the key whose release belongs to the damage; 0 while there is none. */
static int victim, swapped;
static struct input_event held;

static void copy(struct input_event each) {
  int is_key = each.type == EV_KEY && each.value != AUTOREPEAT;
  int is_input = (is_key && each.value == 1) || each.type == EV_ABS || each.type == EV_REL;
  if (is_input) count++;
  int hit = is_input && (is("drop") ? count % at == 0 : count == at);
  int release = is_key && each.value == 0;
  int of_victim = release && victim && each.code == victim;

  if (is("silent") && count >= at) return;
  if (is("step") && count >= at) each.time.tv_sec += amount;
  if (hit) {
    if (each.type == EV_KEY) victim = each.code;
    if (is("drop")) return;
    if (is("die")) exit(0);
    if (is("late")) usleep(amount * 1000);
    if (is("dropped")) put_record(each, EV_SYN, SYN_DROPPED, 0);
    if (is("foreign")) put_stroke(each, amount);
    if (is("shift")) each.value += amount;
    if (is("alter")) each.code = amount;
    if (is("garbage")) put_noise(at);
    if (is("cut")) {
      put(&each, sizeof each - amount);
      return;
    }
    if (is("swap")) {
      held = each;
      return;
    }
  }
  if (of_victim) {
    if (is("drop") || is("stick")) {
      victim = 0;
      return;
    }
    if (is("alter")) {
      each.code = amount;
      victim = 0;
    }
    if (is("swap")) {
      victim = 0;
      swapped = 1;
      return;
    }
  }
  put(&each, sizeof each);
  if (of_victim && is("double")) {
    put_stroke(each, victim);
    victim = 0;
  }
  if (swapped && release) {
    put_stroke(held, held.code);
    swapped = 0;
  }
}

int main(int argc, char **argv) {
  struct input_event records[64];
  if (argc < 5) return 2;
  kind = argv[3];
  at = atol(argv[4]);
  amount = argc > 5 ? atol(argv[5]) : 0;
  int in = open(argv[1], O_RDONLY);
  if (in < 0) return 3;
  if (is("grab") && ioctl(in, EVIOCGRAB, 1) < 0) return 4;
  if (!is("grab") && (out = open(argv[2], O_WRONLY)) < 0) return 5;
  for (;;) {
    ssize_t size = read(in, records, sizeof records);
    if (size <= 0) return 6;
    for (size_t index = 0; index < size / sizeof *records; index++)
      if (!is("grab")) copy(records[index]);
  }
}
