/* Help for the tests of common/env: everything runs in one thread, the loop under test is turned by
 * hand until a condition holds, never longer than ENV_TEST_LIMIT_MS. */
#ifndef TIDAL_TESTS_UNIT_ENV_SUPPORT_H
#define TIDAL_TESTS_UNIT_ENV_SUPPORT_H

#include "common/base/bytes.h"
#include "common/env/env_loop.h"
#include "common/env/env_message.h"
#include "common/env/env_router.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { ENV_TEST_LIMIT_MS = 20000 };

/* Group set-up and tear-down: ZeroMQ started; at the end no socket may be open. */
int env_test_start(void **state);
int env_test_stop(void **state);

typedef bool (*env_test_condition_fn)(void *context);

/* Turns the loop until the condition holds; false when the limit passed first. */
bool env_test_await(env_loop_t *loop, env_test_condition_fn condition, void *context);
/* Turns the loop until *value is at least `wanted`. */
bool env_test_await_count(env_loop_t *loop, const uint64_t *value, uint64_t wanted);
/* Turns the loop for this long. */
void env_test_turn_for(env_loop_t *loop, int wait_ms);

/* A client as others write it: plain ZeroMQ, no limits of ours. type ZMQ_DEALER, ZMQ_REQ, ... */
void *env_test_client_new(int type, const char *endpoint);
void env_test_client_close(void **socket_p);

/* Sends these frames; fails the test when ZeroMQ does not take them. */
void env_test_send(void *socket, const slice_t *frames, uint32_t frame_count);
void env_test_send_text(void *socket, const char *text);
/* Turns the loop until a whole message has come. Frames beyond the bound fail the test. */
bool env_test_receive(env_loop_t *loop, void *socket, env_message_t *ret_message);

/* First of `count` consecutive ports of this machine that nobody listens on, below those that the
 * kernel gives out by itself. */
uint16_t env_test_free_ports(uint16_t count);

static inline slice_t env_test_text(const char *text)
{
    return slice_make(text, strlen(text));
}

/* Answers once: the handle is closed, also on error. */
static inline err_t env_test_reply(env_router_t *router, uint64_t handle, slice_t body)
{
    err_t err = env_router_answer(router, handle, body);
    env_router_forget(router, handle);
    return err;
}

/* Whether a slice holds exactly this text. */
bool env_test_is(slice_t slice, const char *text);

#endif
