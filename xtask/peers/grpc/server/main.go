// The interop server of grpc-go, on loopback and a port of its own, which it prints; with health.
//
// The stock one listens on every interface of the machine.
package main

import (
    "fmt"
    "log"
    "net"

    "google.golang.org/grpc"
    "google.golang.org/grpc/health"
    healthpb "google.golang.org/grpc/health/grpc_health_v1"
    "google.golang.org/grpc/interop"
    testgrpc "google.golang.org/grpc/interop/grpc_testing"
    "google.golang.org/grpc/orca"
)

func main() {
    listener, err := net.Listen("tcp", "127.0.0.1:0")
    if err != nil {
        log.Fatal(err)
    }
    fmt.Println(listener.Addr().(*net.TCPAddr).Port)
    recorder := orca.NewServerMetricsRecorder()
    server := grpc.NewServer(orca.CallMetricsServerOption(nil))
    options := interop.NewTestServerOptions{MetricsRecorder: recorder}
    testgrpc.RegisterTestServiceServer(server, interop.NewTestServer(options))
    healthpb.RegisterHealthServer(server, health.NewServer())
    log.Fatal(server.Serve(listener))
}
