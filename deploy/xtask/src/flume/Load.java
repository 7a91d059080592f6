import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.zip.CRC32C;
import org.apache.flume.Event;
import org.apache.flume.EventDeliveryException;
import org.apache.flume.FlumeException;
import org.apache.flume.api.RpcClient;
import org.apache.flume.api.RpcClientFactory;
import org.apache.flume.event.EventBuilder;

/**
 * Puts load on a Flume agent through Flume's own client, as `collector-loadtest run` does on a node: batches at a
 * steady rate, whatever the answers do, or as many as are answered; a ledger of what was acknowledged; and one line of
 * JSON at the end, with the same names.
 *
 * Arguments: host port seconds rate(0: as many as are answered) connections batch body-bytes timeout-seconds ledger.
 * It ends after the seconds, or when standard input does; what is under way is answered still.
 */
public final class Load {
    private static final Map<String, String> HEADERS = Map.of("host", "web-1", "app", "shop", "level", "info");
    private static final byte[] FILLER =
        "GET /products/42?color=green&size=11 HTTP/1.1 200 5123 - Mozilla/5.0 (X11; Linux x86_64) "
            .getBytes(StandardCharsets.US_ASCII);
    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);
    private static final int SEQUENCE_AT = 9;
    private static final int SEQUENCE_DIGITS = 15;
    private static final int CRC_DIGITS = 8;
    private static final long PAUSE_MS = 50;

    private final String host;
    private final int port;
    private final long seconds;
    private final double rate;
    private final int batch;
    private final long timeoutNanos;
    private final byte[] template;
    private final String producer;
    private final PrintWriter ledger;
    private final double cpuBefore = cpuSeconds();
    private final long begun = System.nanoTime();
    private final AtomicBoolean stopped = new AtomicBoolean();
    private final AtomicLong taken = new AtomicLong();
    private final AtomicLong resent = new AtomicLong();

    // Under the lock of this.
    private final List<Long> nanos = new ArrayList<>();
    private long acked;
    private long unknown;
    private long rejected;
    private long lastAck = begun;

    private Load(String[] arguments) throws IOException {
        host = arguments[0];
        port = Integer.parseInt(arguments[1]);
        seconds = Long.parseLong(arguments[2]);
        rate = Double.parseDouble(arguments[3]);
        batch = Integer.parseInt(arguments[5]);
        timeoutNanos = Long.parseLong(arguments[7]) * 1_000_000_000L;
        byte[] id = new byte[16];
        new SecureRandom().nextBytes(id);
        producer = HexFormat.of().formatHex(id);
        template = template(producer.substring(0, 8), Integer.parseInt(arguments[6]));
        ledger = new PrintWriter(Files.newBufferedWriter(Path.of(arguments[8])));
        ledger.println("collector-ledger 1");
    }

    public static void main(String[] arguments) throws Exception {
        Load load = new Load(arguments);
        Thread ear = new Thread(load::listen);
        ear.setDaemon(true);
        ear.start();
        List<Thread> threads = new ArrayList<>();
        for (int index = 0; index < Integer.parseInt(arguments[4]); index++) {
            Thread thread = new Thread(load::drive);
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        load.report();
    }

    private void listen() {
        try {
            while (System.in.read() >= 0) {
                continue;
            }
        } catch (IOException closed) {
            // As good as its end.
        }
        stopped.set(true);
    }

    /** Sends what is due over one connection, until nothing is. */
    private void drive() {
        RpcClient client = null;
        List<Event> events = new ArrayList<>(batch);
        while (true) {
            long number = taken.getAndIncrement();
            long due = due(number);
            if (due - begun >= seconds * 1_000_000_000L || !sleepUntil(due)) {
                break;
            }
            long first = number * batch;
            events.clear();
            for (int index = 0; index < batch; index++) {
                events.add(EventBuilder.withBody(body(first + index), HEADERS));
            }
            boolean sent = false;
            boolean answered = false;
            while (!answered && System.nanoTime() - due < timeoutNanos) {
                try {
                    if (client == null) {
                        client = RpcClientFactory.getDefaultInstance(host, port, batch);
                    }
                    if (sent) {
                        resent.incrementAndGet();
                    }
                    sent = true;
                    client.appendBatch(events);
                    answered = true;
                } catch (EventDeliveryException | FlumeException failed) {
                    client = close(client);
                    pause();
                }
            }
            note(answered ? "acked" : sent ? "unknown" : "rejected", first, due);
        }
        close(client);
    }

    /** When a batch is to be sent; with no rate, now. */
    private long due(long number) {
        return rate == 0 ? System.nanoTime() : begun + (long) (number * (batch * 1e9 / rate));
    }

    /** False if the load has ended before. */
    private boolean sleepUntil(long time) {
        while (!stopped.get()) {
            long left = time - System.nanoTime();
            if (left <= 0) {
                return true;
            }
            // In pieces, to notice the end.
            LockSupport.parkNanos(Math.min(left, 100_000_000L));
        }
        return false;
    }

    private static void pause() {
        try {
            Thread.sleep(PAUSE_MS);
        } catch (InterruptedException never) {
            Thread.currentThread().interrupt();
        }
    }

    private static RpcClient close(RpcClient client) {
        if (client != null) {
            try {
                client.close();
            } catch (FlumeException broken) {
                // It is of no use any more, closed or not.
            }
        }
        return null;
    }

    private synchronized void note(String outcome, long first, long due) {
        long now = System.nanoTime();
        switch (outcome) {
            case "acked" -> {
                nanos.add(now - due);
                acked += batch;
                lastAck = now;
            }
            case "unknown" -> unknown += batch;
            default -> rejected += batch;
        }
        ledger.println(outcome + " " + producer + " 1 " + first + " " + batch);
    }

    private synchronized void report() {
        ledger.close();
        long[] sorted = nanos.stream().mapToLong(Long::longValue).sorted().toArray();
        double cpu = cpuSeconds() - cpuBefore;
        System.out.println(String.format(Locale.ROOT,
            "{\"acked_events\": %d, \"acked_events_per_second\": %.1f, \"rejected\": %d, \"unknown\": %d, "
                + "\"ack_ms\": {\"p50\": %.3f, \"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f}, "
                + "\"client_cpu_seconds\": %.2f, \"retried_blocks\": %d}",
            acked, acked / ((lastAck - begun) / 1e9), rejected, unknown, at(sorted, 0.5), at(sorted, 0.99),
            at(sorted, 0.999), at(sorted, 1.0), cpu, resent.get()));
    }

    private static double cpuSeconds() {
        return ProcessHandle.current().info().totalCpuDuration().map(it -> it.toNanos() / 1e9).orElse(0.0);
    }

    private static double at(long[] sorted, double quantile) {
        if (sorted.length == 0) {
            return 0;
        }
        int index = (int) Math.ceil(quantile * sorted.length) - 1;
        return sorted[Math.max(index, 0)] / 1e6;
    }

    /** A body as loadtest/src/payload.rs makes them, without its sequence and its CRC. */
    private static byte[] template(String producer, int bytes) {
        byte[] body = new byte[bytes];
        Arrays.fill(body, (byte) ' ');
        System.arraycopy(producer.getBytes(StandardCharsets.US_ASCII), 0, body, 0, producer.length());
        int filler = SEQUENCE_AT + SEQUENCE_DIGITS + 1;
        for (int at = filler; at < bytes - CRC_DIGITS - 1; at++) {
            body[at] = FILLER[(at - filler) % FILLER.length];
        }
        return body;
    }

    private byte[] body(long sequence) {
        byte[] body = template.clone();
        long rest = sequence;
        for (int at = SEQUENCE_AT + SEQUENCE_DIGITS - 1; at >= SEQUENCE_AT; at--) {
            body[at] = (byte) ('0' + rest % 10);
            rest /= 10;
        }
        CRC32C crc = new CRC32C();
        crc.update(body, 0, body.length - CRC_DIGITS - 1);
        for (int at = 0; at < CRC_DIGITS; at++) {
            body[body.length - CRC_DIGITS + at] = HEX[(int) (crc.getValue() >> (28 - 4 * at)) & 15];
        }
        return body;
    }
}
