/* A client of a Quantis appliance's interface, written from its description (docs/http.md, "Clients of other services"), as a
 * program in C would ask one: libcurl, one connection, answers read strictly.
 *
 *     appliance https://HOST:PORT CA-FILE
 *
 * Asks for each kind of value, checks what comes, and prints a line for each kind: its name and how many values came. Ends with 1
 * and a word on standard error at the first answer that is not as it should be.
 */

#include <curl/curl.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST (1 << 20)

struct answer {
    char bytes[LONGEST + 1];
    size_t length;
};

static struct answer answer;
static CURL *curl;
static const char *base;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static size_t take(char *bytes, size_t size, size_t count, void *unused)
{
    (void)unused;
    if (count > (LONGEST - answer.length) / size)
        return 0;
    memcpy(answer.bytes + answer.length, bytes, size * count);
    answer.length += size * count;
    return size * count;
}

/* Asks for `query`, and leaves the answer in `answer`, with a zero behind it. */
static void ask(const char *query)
{
    char url[512];
    long status = 0;
    CURLcode result;

    if (snprintf(url, sizeof url, "%s/api/2.0/%s", base, query) >= (int)sizeof url)
        fail(query, "is too long");
    answer.length = 0;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    result = curl_easy_perform(curl);
    if (result != CURLE_OK)
        fail(query, curl_easy_strerror(result));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        fail(query, "is not answered with 200");
    answer.bytes[answer.length] = 0;
}

/* The next value of the array at `at`, read by `read`; how many there were in the end. */
static int array(const char *query, void (*read)(const char *query, char **at))
{
    char *at = answer.bytes;
    int count = 0;

    if (*at++ != '[')
        fail(query, "is no array");
    do {
        read(query, &at);
        count++;
    } while (*at++ == ',');
    if (at[-1] != ']' || at != answer.bytes + answer.length)
        fail(query, "goes on after the array, or ends in it");
    return count;
}

static double least, most;
static int whole;

static void number(const char *query, char **at)
{
    char *end;
    double value;

    errno = 0;
    value = whole ? (double)strtol(*at, &end, 10) : strtod(*at, &end);
    if (end == *at || errno != 0 || !isfinite(value))
        fail(query, "has what is no number in it");
    if (value < least || value > most)
        fail(query, "has a number out of its bounds in it");
    *at = end;
}

static void text(const char *query, char **at)
{
    const char *digits = "0123456789abcdefABCDEF";

    if ((*at)[0] != '"' || strspn(*at + 1, digits) != 8 || (*at)[9] != '"')
        fail(query, "has what are no four bytes in it");
    *at += 10;
}

static void numbers(const char *kind, const char *query, int is_whole, double min, double max, int wanted)
{
    int count;

    whole = is_whole;
    least = min;
    most = max;
    ask(query);
    count = array(query, number);
    if (count != wanted)
        fail(query, "has another number of values");
    printf("%s %d\n", kind, count);
}

int main(int argc, char **argv)
{
    size_t i, same = 0;
    long connections = 0;

    if (argc != 3)
        fail("usage", "appliance URL CA-FILE");
    base = argv[1];
    curl_global_init(CURL_GLOBAL_DEFAULT);
    curl = curl_easy_init();
    if (curl == NULL)
        fail("libcurl", "does not start");
    curl_easy_setopt(curl, CURLOPT_CAINFO, argv[2]);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);

    ask("streambytes?size=65536");
    if (answer.length != 65536)
        fail("streambytes", "has another length");
    for (i = 1; i < answer.length; i++)
        same += answer.bytes[i] == answer.bytes[i - 1];
    /* Of 65,535 pairs 256 are expected; 600 are 21 standard deviations more. */
    if (same > 600)
        fail("streambytes", "are not random");
    printf("streambytes %zu\n", answer.length);

    ask("hexbytes?quantity=1000&dataLength=4");
    printf("hexbytes %d\n", array("hexbytes", text));
    numbers("short", "short?min=-100&max=100&quantity=1000", 1, -100, 100, 1000);
    numbers("int", "int?min=1&max=6&quantity=10000", 1, 1, 6, 10000);
    numbers("int", "int", 1, -2147483648.0, 2147483647.0, 1);
    numbers("float", "float?min=0.5&max=0.75&quantity=1000", 0, 0.5, 0.75, 1000);
    numbers("double", "double?min=-1.5&max=1.5&quantity=1000", 0, -1.5, 1.5, 1000);
    numbers("double", "double", 0, 0.0, 1.0, 1);

    curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connections);
    if (connections != 0)
        fail("the last answer", "came over another connection than the one before");
    curl_easy_cleanup(curl);
    return 0;
}
