// BouncyCastle as a DTLS 1.2 server with pre-shared key and Connection ID: CidServer PORT,PORT... KEY-HEX [CID-HEX].
// An echo, for one client a port; of the first record that it returns it tells the type.
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.HexFormat;
import org.bouncycastle.tls.CipherSuite;
import org.bouncycastle.tls.DTLSServerProtocol;
import org.bouncycastle.tls.DTLSTransport;
import org.bouncycastle.tls.DatagramTransport;
import org.bouncycastle.tls.PSKTlsServer;
import org.bouncycastle.tls.ProtocolVersion;
import org.bouncycastle.tls.TlsPSKIdentityManager;
import org.bouncycastle.tls.crypto.impl.bc.BcTlsCrypto;

public class CidServer {
    public static void main(String[] arguments) {
        byte[] key = HexFormat.of().parseHex(arguments[1]);
        byte[] cid = arguments.length > 2 ? HexFormat.of().parseHex(arguments[2]) : null;
        for (String port : arguments[0].split(",")) {
            new Thread(() -> {
                try {
                    serve(Integer.parseInt(port), key, cid);
                } catch (Exception error) {
                    System.out.println(error);
                }
            }).start();
        }
    }

    static void serve(int port, byte[] key, byte[] cid) throws Exception {
        DatagramSocket socket = new DatagramSocket(new InetSocketAddress("127.0.0.1", port));
        int[] type = new int[1];
        String[] name = new String[1];
        SocketAddress[] peer = new SocketAddress[1];
        DatagramTransport transport = new DatagramTransport() {
            public int getReceiveLimit() { return 1500; }
            public int getSendLimit() { return 1400; }
            public void close() { }
            public int receive(byte[] room, int offset, int length, int wait) throws java.io.IOException {
                socket.setSoTimeout(Math.max(1, wait));
                DatagramPacket packet = new DatagramPacket(room, offset, length);
                try {
                    socket.receive(packet);
                } catch (SocketTimeoutException nothing) {
                    return -1;
                }
                peer[0] = packet.getSocketAddress();
                type[0] = room[offset] & 255;
                return packet.getLength();
            }
            public void send(byte[] data, int offset, int length) throws java.io.IOException {
                socket.send(new DatagramPacket(data, offset, length, peer[0]));
            }
        };
        TlsPSKIdentityManager identities = new TlsPSKIdentityManager() {
            public byte[] getHint() { return null; }
            public byte[] getPSK(byte[] identity) {
                name[0] = new String(identity, StandardCharsets.UTF_8);
                return key.clone();
            }
        };
        DTLSTransport tls = new DTLSServerProtocol().accept(new PSKTlsServer(new BcTlsCrypto(new SecureRandom()), identities) {
            protected ProtocolVersion[] getSupportedVersions() { return ProtocolVersion.DTLSv12.only(); }
            protected int[] getSupportedCipherSuites() { return new int[] {CipherSuite.TLS_PSK_WITH_AES_128_CCM_8}; }
            protected byte[] getNewConnectionID() { return cid; }
        }, transport);
        byte[] room = new byte[2048];
        boolean told = false;
        while (true) {
            int length = tls.receive(room, 0, room.length, 1000);
            if (length > 0) {
                if (!told) {
                    System.out.println("identity " + name[0] + ", record type " + type[0]);
                    told = true;
                }
                tls.send(room, 0, length);
            }
        }
    }
}
