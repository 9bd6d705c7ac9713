/**
 * What the Secrets Manager API answers with instead of a result. The codes are those of its service model,
 * and those that all of AWS's JSON APIs have.
 * https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html
 */

import type { Fault, FaultCode } from '../query/fault.ts';

/** docs/secrets.md describes each, and a test compares. */
export const SECRETS_FAULT_STATUSES = {
  // Of all APIs.
  AccessDeniedException: 400,
  ExpiredTokenException: 400,
  IncompleteSignatureException: 400,
  InternalServiceError: 500,
  InvalidSignatureException: 400,
  MissingAuthenticationTokenException: 400,
  SerializationException: 400,
  ServiceUnavailableException: 503,
  UnknownOperationException: 400,
  UnrecognizedClientException: 400,
  // Of Secrets Manager.
  InvalidNextTokenException: 400,
  InvalidParameterException: 400,
  InvalidRequestException: 400,
  LimitExceededException: 400,
  ResourceExistsException: 400,
  ResourceNotFoundException: 400,
} as const;

export type SecretsFaultCode = keyof typeof SECRETS_FAULT_STATUSES;

export class SecretsFault extends Error {
  readonly code: SecretsFaultCode;

  constructor(code: SecretsFaultCode, message: string) {
    super(message);
    this.name = 'SecretsFault';
    this.code = code;
  }

  get status(): number {
    return SECRETS_FAULT_STATUSES[this.code];
  }
}

/** What the check of the signature says, in the words that this protocol has for it. */
const CODES: Readonly<Partial<Record<FaultCode, SecretsFaultCode>>> = {
  AccessDenied: 'AccessDeniedException',
  ExpiredToken: 'ExpiredTokenException',
  IncompleteSignature: 'IncompleteSignatureException',
  InvalidClientTokenId: 'UnrecognizedClientException',
  MissingAuthenticationToken: 'MissingAuthenticationTokenException',
  SignatureDoesNotMatch: 'InvalidSignatureException',
  ServiceUnavailable: 'ServiceUnavailableException',
};

export function fromQueryFault({ code, message }: Fault): SecretsFault {
  return new SecretsFault(CODES[code] ?? 'AccessDeniedException', message);
}

export function invalidParameter(message: string): SecretsFault {
  return new SecretsFault('InvalidParameterException', message);
}

export function invalidRequest(message: string): SecretsFault {
  return new SecretsFault('InvalidRequestException', message);
}
