/** The database sent something that nothing we sent can explain. The connection must not be used. */
export class ProtocolViolation extends Error {}
