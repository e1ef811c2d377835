/** The bridge as a client of coordinators, over their HTTP API: answers of models, sensor models, reports and calls. */
export { CoordinatorAnswers, type AnswersComponents } from './answers.ts'
export { Endpoints, type EndpointsInit } from './endpoints.ts'
export { HttpCoordinatorLink, type LinkComponents, type LinkInit } from './link.ts'
export { RuleClient, type RuleClientComponents } from './rule-client.ts'
export { HttpSensorModels } from './sensor-models.ts'
