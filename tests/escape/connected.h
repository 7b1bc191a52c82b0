/* What the attacks of code share that was decided to connect, to DECIDED alone: other machines, which listen too,
 * and whether one of them answers.
 */
#include "attack.h"
#include <netinet/tcp.h>

#define DECIDED "203.0.113.2"
#define BESIDE "203.0.113.3"
#define BESIDE_IPV6 "2001:db8:7::2"
#define PORT 2007
#define OTHER_PORT 2009
#define WAIT_SECONDS 2

static inline struct sockaddr_in place(const char *address, uint16_t port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, address, &at.sin_addr);
    return at;
}

static inline struct sockaddr_in6 place_ipv6(const char *address, uint16_t port) {
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(AF_INET6, address, &at.sin6_addr);
    return at;
}

/* A socket that waits for nobody longer than a moment. */
static inline int stream(int family) {
    struct timeval wait = {.tv_sec = WAIT_SECONDS};
    int one = socket(family, SOCK_STREAM, 0);
    if (one >= 0) {
        setsockopt(one, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        setsockopt(one, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    }
    return one;
}

/* Whether the machine at the other end sends back what it is sent. */
static inline int answers(int one) {
    char byte = 'x';
    return send(one, &byte, 1, MSG_NOSIGNAL) == 1 && recv(one, &byte, 1, 0) == 1;
}

/* The end of an attack that is one connection. */
static inline int connects(int one, const void *to, socklen_t length) {
    return when(connect(one, to, length) == 0 && answers(one));
}
