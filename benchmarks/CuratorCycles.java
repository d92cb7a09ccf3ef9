import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.lang.management.ManagementFactory;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import org.apache.curator.test.TestingServer;

/**
 * What fixture.py does with our servers, done with Curator's TestingServer, in one warm JVM: a line of numbers
 * for each server, in milliseconds, then what many of them side by side cost.
 */
public class CuratorCycles {
    public static void main(String[] words) throws Exception {
        int cycles = Integer.parseInt(words[0]);
        int together = Integer.parseInt(words[1]);
        for (int i = 0; i < cycles; i++) {
            long begun = System.nanoTime();
            TestingServer server = new TestingServer();
            long entered = System.nanoTime();
            test(server.getPort());
            long tested = System.nanoTime();
            server.close();
            long left = System.nanoTime();
            System.out.printf(
                    "cycle %f %f %f%n", (entered - begun) / 1e6, (tested - begun) / 1e6, (left - begun) / 1e6);
        }
        long begun = System.nanoTime();
        List<TestingServer> servers = new ArrayList<>();
        for (int i = 0; i < together; i++) {
            servers.add(new TestingServer());
        }
        for (TestingServer server : servers) {
            test(server.getPort());
        }
        double seconds = (System.nanoTime() - begun) / 1e9;
        int threads = ManagementFactory.getThreadMXBean().getThreadCount();
        int descriptors = Paths.get("/proc/self/fd").toFile().list().length;
        String status = new String(Files.readAllBytes(Paths.get("/proc/self/status")));
        String resident = status.replaceAll("(?s).*VmRSS:\\s*(\\d+).*", "$1");
        System.out.printf("together %f %d %d %s%n", seconds, threads, descriptors, resident);
        for (TestingServer server : servers) {
            server.close();
        }
        System.exit(0);
    }

    /** A session, a node, its data; with a client that does no more than that. */
    private static void test(int port) throws Exception {
        try (Socket socket = new Socket("127.0.0.1", port)) {
            socket.setTcpNoDelay(true);
            DataOutputStream out = new DataOutputStream(socket.getOutputStream());
            DataInputStream in = new DataInputStream(socket.getInputStream());
            ByteBuffer hello = ByteBuffer.allocate(49);
            hello.putInt(45).putInt(0).putLong(0).putInt(10000).putLong(0).putInt(16);
            out.write(hello.array());
            reply(in);
            byte[] path = "/test".getBytes(StandardCharsets.UTF_8);
            byte[] world = "world".getBytes(), anyone = "anyone".getBytes();
            ByteBuffer create = ByteBuffer.allocate(60);
            create.putInt(56).putInt(1).putInt(1).putInt(5).put(path).putInt(4).put("data".getBytes());
            create.putInt(1).putInt(31).putInt(5).put(world).putInt(6).put(anyone).putInt(0);
            out.write(create.array(), 0, create.position());
            reply(in);
            ByteBuffer get = ByteBuffer.allocate(22);
            get.putInt(18).putInt(2).putInt(4).putInt(5).put(path).put((byte) 0);
            out.write(get.array());
            byte[] answer = reply(in);
            if (answer[15] != 0 || answer[19] != 4) {
                throw new IllegalStateException("not what was asked for");
            }
            ByteBuffer close = ByteBuffer.allocate(12);
            close.putInt(8).putInt(3).putInt(-11);
            out.write(close.array());
            reply(in);
        }
    }

    private static byte[] reply(DataInputStream in) throws Exception {
        byte[] frame = new byte[in.readInt()];
        in.readFully(frame);
        return frame;
    }
}
