import type { EgressPolicy } from './egress-policy.ts';

/**
 * Ports of services that take an HTTP request for commands of their own, or that no webhook receiver shares a port with:
 * whoever names one as a target wants something else than webhooks. Most are the Fetch standard's bad ports; databases,
 * brokers and the interfaces of orchestrators are added, for where private ranges are opened. None is in the range that
 * operating systems give out (from 32768 on).
 */
export const DEFAULT_DENY_PORTS = [
  '1,7,9,11,13,15,17-23,25,37,42,43,53,69,77,79,87,95', // echo, FTP, SSH, Telnet, SMTP, DNS, finger, …
  '101-104,109-111,113,115,117,119,123,135-139,143,161,162,179', // POP, ident, NNTP, NTP, RPC, NetBIOS, IMAP, SNMP, BGP
  '389,427,445,465,512-515,526,530-532,540,548,554,556,563,587', // LDAP, SMB, mail, rlogin, printers, RTSP
  '601,636,873,989,990,993,995', // syslog, LDAP, rsync, FTP and mail over TLS
  '1433,1434,1521,1719,1720,1723,1883,2049,2181', // SQL Server, Oracle, H.323, PPTP, MQTT, NFS, ZooKeeper
  '2375-2377,2379,2380,3306,3389,3659,4045,4190,4222', // Docker, etcd, MySQL, RDP, sieve, NATS
  '5060,5061,5432,5433,5671,5672,5900-5903,5984', // SIP, Postgres, AMQP, VNC, CouchDB
  '6000-6063,6379,6380,6566,6665-6669,6679,6697', // X11, Redis, IRC
  '9042,9092,9200,9300,10080,10250,11211,27017-27019', // Cassandra, Kafka, Elasticsearch, kubelet, memcached, MongoDB
].join(',');

export const MAX_PORT = 65_535;

/** May a target use this port? From 1 to 65535, and not denied. */
export function isAllowedPort(port: number, { denyPorts }: Pick<EgressPolicy, 'denyPorts'>): boolean {
  return Number.isInteger(port) && port >= 1 && port <= MAX_PORT && !denyPorts.has(port);
}
