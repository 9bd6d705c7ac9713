/**
 * What the Secrets Manager API answers with instead of a result. The codes are those of its service model,
 * and those that all of AWS's JSON APIs have.
 * https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html
 */

import { CodedFault, type CommonFaultCode, type Fault, isCommon } from '../aws/fault.ts';

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
  ThrottlingException: 400,
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

export class SecretsFault extends CodedFault<SecretsFaultCode> {
  get status(): number {
    return SECRETS_FAULT_STATUSES[this.code];
  }
}

/** What all APIs have to tell, in the words that this protocol has for it. */
const CODES: Readonly<Record<CommonFaultCode, SecretsFaultCode>> = {
  AccessDenied: 'AccessDeniedException',
  ExpiredToken: 'ExpiredTokenException',
  IncompleteSignature: 'IncompleteSignatureException',
  InternalFailure: 'InternalServiceError',
  InvalidAction: 'UnknownOperationException',
  InvalidClientTokenId: 'UnrecognizedClientException',
  InvalidParameterCombination: 'InvalidParameterException',
  InvalidParameterValue: 'InvalidParameterException',
  InvalidQueryParameter: 'InvalidParameterException',
  MalformedQueryString: 'SerializationException',
  MissingAction: 'UnknownOperationException',
  MissingAuthenticationToken: 'MissingAuthenticationTokenException',
  ServiceUnavailable: 'ServiceUnavailableException',
  SignatureDoesNotMatch: 'InvalidSignatureException',
  Throttling: 'ThrottlingException',
  ValidationError: 'InvalidParameterException',
};

export function fromFault({ code, message }: Fault): SecretsFault {
  return new SecretsFault(isCommon(code) ? CODES[code] : 'InternalServiceError', message);
}

export function invalidParameter(message: string): SecretsFault {
  return new SecretsFault('InvalidParameterException', message);
}

export function invalidRequest(message: string): SecretsFault {
  return new SecretsFault('InvalidRequestException', message);
}
