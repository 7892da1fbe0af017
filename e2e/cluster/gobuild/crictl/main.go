// Command crictl answers the two questions that kind asks a node: "crictl inspecti IMAGE" (is it there, and under
// which id?) and "crictl images".
//
// The real one links the kubelet's streaming client and more; a node needs these two calls of the runtime's API.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const endpoint = "unix:///run/containerd/containerd.sock"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "crictl:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	images := runtime.NewImageServiceClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	switch {
	case len(args) >= 2 && args[0] == "inspecti": // options may stand before the name
		return inspect(ctx, images, args[len(args)-1])
	case len(args) >= 1 && args[0] == "images":
		return list(ctx, images)
	}
	return fmt.Errorf("usage: crictl inspecti IMAGE | crictl images")
}

func inspect(ctx context.Context, images runtime.ImageServiceClient, name string) error {
	answer, err := images.ImageStatus(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: name}})
	if err != nil {
		return err
	}
	if answer.Image == nil {
		return fmt.Errorf("no such image %q", name)
	}
	image := answer.Image
	status := map[string]any{"id": image.Id, "repoTags": image.RepoTags, "repoDigests": image.RepoDigests, "size": fmt.Sprint(image.Size)}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"status": status})
}

func list(ctx context.Context, images runtime.ImageServiceClient) error {
	answer, err := images.ListImages(ctx, &runtime.ListImagesRequest{})
	if err != nil {
		return err
	}
	for _, image := range answer.Images {
		fmt.Println(image.Id, strings.Join(image.RepoTags, ","), image.Size)
	}
	return nil
}
